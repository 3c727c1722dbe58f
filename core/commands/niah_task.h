// What a trial of `niah` says: its needles, its question, and where its filler comes from.
//
// Of a model of bytes they are those of passkey.h. Those of a model of token ids are in a file that
// `scripts/tokenize.py --needle` makes, and their filler is the text of shards. Shards of bytes may give the
// filler of a model of bytes as well.
#ifndef CORE_COMMANDS_NIAH_TASK_H
#define CORE_COMMANDS_NIAH_TASK_H

#include "core/engine/engine.h"
#include "core/options/options.h"
#include "dataloader.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NIAH_MIN_LENGTH 64 // tokens of a trial
#define NIAH_ANSWERS    10 // a digit each

typedef struct {
    int32_t *ids;
    int64_t count;
} NiahTokens;

typedef struct {
    NiahTokens begin;                 // in front of every text
    NiahTokens question;              // what every needle begins with
    NiahTokens needles[NIAH_ANSWERS]; // the question, the answer's token, and what follows it
    char *text;                       // of the needles, D in the place of the digit
    bool *marks;                      // (V), those that shards have around documents: no filler
    bool bytes;                       // the model's tokens are bytes
    bool reads;                       // filler is the text of `data`; else what passkey.h draws
    DataLoader data;
} NiahTask;

// Reads --needle, and opens the shards of --data, all of whose tokens are checked. What is opened in part is
// closed by niah_task_close too; the structure must stay where it is until then. Status 2 for settings, 3 for
// files.
bool niah_task_open(NiahTask *task, const Options *options, const char *folder, const ModelConfig *model,
                    Error *error);
void niah_task_close(NiahTask *task);

// The token that answers with a digit.
int32_t niah_task_answer(const NiahTask *task, int digit);

// Writes the `length` tokens of the trial of this number and gives its digit. Equal arguments give equal
// tokens. depth: in [0, 1]; length: NIAH_MIN_LENGTH or more   tokens: (length)
bool niah_task_trial(NiahTask *task, uint64_t seed, uint64_t number, double depth, int64_t length,
                     int32_t *tokens, int *digit, Error *error);

#ifdef __cplusplus
}
#endif
#endif
