// Help: written from the tables; see help.h.
#include "help.h"

#include "nearest.h"
#include "options_table.h"
#include "version.h"

#include <string.h>

const CommandRow COMMANDS[COMMAND_COUNT] = {
    {COMMAND_PACK, "pack", " INPUT...", 1 << 20, "turn text into token shards for training and validation",
     "INPUT is C4's own *.json.gz, .jsonl or .json[.gz] (one object a line, field \"text\"), a text file "
     "(one document),\n"
     "or a folder of any of these. A document becomes 256, its bytes, 257. --out receives train_00000.bin "
     "... and\n"
     "val_00000.bin ...; equal inputs and seed give equal shards on any machine.\n"
     "\n"
     "With --tokens INPUT is files of token ids made elsewhere, arrays as numpy's tofile writes them. The "
     "ids go "
     "in as they\n"
     "are, no mark is added; a document is a file, or what ends with the id --document-end.\n"
     "\n"
     "  train_gpt_lighthouse pack c4/en/*.json.gz --out data --val-fraction 0.001\n"
     "  train_gpt_lighthouse pack ids.bin --tokens uint32 --vocab 128256 --document-end 128001 --out data\n"},
    {COMMAND_TRAIN, "train", "", 0, "train a model: start, resume, or switch to dense attention",
     "A run has two stages: most updates under Lighthouse attention, which is fast but only for training, "
     "then a short\n"
     "tail under dense attention, which ends in an ordinary Llama. Lighthouse looks ahead within a chunk "
     "when it selects,\n"
     "so its training loss is no strict likelihood and jumps at the switch; it is back within some hundred "
     "updates.\n"
     "\n"
     "  train_gpt_lighthouse train --preset tiny --data 'data/train_*.bin' --val 'data/val_*.bin' --out run "
     "--switch-at 250\n"
     "  train_gpt_lighthouse train --resume run --attention dense --steps 16000      (stage 2 of a run that "
     "stopped)\n"
     "  train_gpt_lighthouse train --resume run/step_00010000 --out branch ...       (a new run from one of "
     "its checkpoints)\n"
     "  train_gpt_lighthouse train --preset 530m --data ... --out run --resume auto  (start, or continue: "
     "for job scripts)\n"
     "\n"
     "--out gets run.json (all settings), log.jsonl (a line every update) and step_NNNNNNNN/ (checkpoints, "
     "each a\n"
     "Hugging Face model folder). SIGTERM, SIGINT and SIGUSR1 finish the update, save, and exit with status "
     "75.\n"},
    {COMMAND_EVAL, "eval", "", 0, "measure the loss of a model on shards",
     "Prints one JSON object: nats a target (begin and end of documents included), bits a byte = nats / (ln "
     "2 * bytes),\n"
     "perplexity. Of shards of ready token ids, which are no bytes, bits a byte is left out. Of a "
     "checkpoint, "
     "the settings of\n"
     "Lighthouse attention are those that it was trained with; what is given goes before them.\n"
     "\n"
     "  train_gpt_lighthouse eval --model run --data 'data/val_*.bin'\n"},
    {COMMAND_GENERATE, "generate", "", 0, "sample text from a model",
     "Writes the prompt and the bytes that follow it to standard output, under dense attention.\n"
     "\n"
     "  train_gpt_lighthouse generate --model run --prompt 'The ' --max-bytes 500\n"},
    {COMMAND_BENCH, "bench", " attention|step", 1,
     "time an attention layer or a training step, part by part, beside the floor of each",
     "Standard output gets one JSON object a row, standard error the same as a table. The rates of the "
     "device are\n"
     "measured first: of a copy within its memory (bytes read and written) and of a large matrix product. "
     "The floor\n"
     "of a part is the longer of the bytes that it must move once at the one rate, and its operations "
     "(causal) at the\n"
     "other; `ratio` is time over floor.\n"
     "\n"
     "  attention   one layer by itself: q, k, v after RoPE in, out out, scoring included. Medians of "
     "--repeats\n"
     "              calls behind --warmup; on the GPU each call takes the next of so many copies of all "
     "tensors\n"
     "              that nothing is left of it in the cache. The norm scorer reads q and k here for their "
     "norms;\n"
     "              in training these come out of the kernel of RoPE. The gates of gla are given. Of the "
     "model only\n"
     "              heads count, and --recompute and --dense-layers do not.\n"
     "  step        whole training steps (forward, backward, update) on made-up tokens. The step's time is "
     "the\n"
     "              median of --repeats steps that nothing disturbs; the parts are those of the median of as "
     "many\n"
     "              steps more, in which events tell them apart (`timed_ms`, a little longer).\n"
     "\n"
     "  train_gpt_lighthouse bench attention --seq-len 98304 --topk 1536\n"
     "  train_gpt_lighthouse bench attention --attention lighthouse --seq-len 1048576 --levels 4 --topk "
     "4096\n"
     "  train_gpt_lighthouse bench step --preset 530m --repeats 5\n"},
    {COMMAND_NIAH, "niah", "", 0,
     "needle in a haystack: whether a model finds a passkey, by length and depth",
     "A trial is N tokens: the mark that begins a document, filler, the needle, more filler, the question:\n"
     "\n"
     "  filler  \"\\nThe passkey is D.\\n\"  filler  \"\\nThe passkey is \"\n"
     "\n"
     "D is a random digit, filler is bytes drawn evenly from A-Z, a-z and 0-9, and the depth is the share\n"
     "of it before the needle. The answer is the digit whose token has the highest logit among the ten,\n"
     "under dense attention; chance is 10 %. Prints one JSON object: the mean retrieval rate with its 95 %\n"
     "interval (Wilson's score), the rates by length, by depth and of each cell. --out also gets every "
     "trial\n"
     "(trials.jsonl), the same object (summary.json) and a heat map (heatmap.svg), in place of older ones.\n"
     "\n"
     "  train_gpt_lighthouse niah --model run --out niah\n"},
    {COMMAND_EXPORT, "export", "", 0, "copy a checkpoint's model without optimizer, in float32 or bf16",
     "A checkpoint is a Hugging Face model folder as it is; this makes one of the weights, config.json and\n"
     "the tokenizer alone, to hand on.\n"
     "\n"
     "  train_gpt_lighthouse export --model run --out model --bf16\n"},
    {COMMAND_REPORT, "report", " RUN...", 1 << 20,
     "draw runs: loss, throughput, the switch, and a table of figures",
     "RUN is a run's folder or a log.jsonl. Draws training and validation loss by tokens and by time, "
     "throughput, the\n"
     "switch to dense attention and resumes of all runs together; a branch is shown with what it branched "
     "off from. The\n"
     "table goes to standard output too, as Markdown, and says how its figures are defined.\n"
     "\n"
     "  train_gpt_lighthouse report dense split --out report.svg\n"},
    {COMMAND_INFO, "info", " [PATH]", 1, "show this build, or what a shard, checkpoint or run holds",
     "Without PATH: version, libraries, devices. With one: a shard, a checkpoint or model folder, a run, or "
     "a folder of\n"
     "shards; --verify reads it all and exits with status 3 when a hash is wrong.\n"},
};

const CommandRow *command_row(Command command) {
    const CommandRow *row = COMMANDS;
    while (row->command != command) row++;
    return row;
}

const CommandRow *command_find(const char *name) {
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(COMMANDS[i].name, name) == 0) return &COMMANDS[i];
    }
    return NULL;
}

bool help_unknown_command(const char *word, Error *error) {
    char names[256] = "";
    for (int i = 0; i < COMMAND_COUNT; i++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                 COMMANDS[i].name);
    }
    if (!word[0]) return error_set(error, STATUS_USAGE, "no command; there are %s, and --help", names);
    Nearest nearest;
    char meant[64] = "";
    nearest_begin(&nearest, word, strlen(word));
    for (int i = 0; i < COMMAND_COUNT; i++) nearest_offer(&nearest, COMMANDS[i].name);
    if (nearest.best) snprintf(meant, sizeof meant, " did you mean %s?", nearest.best);
    return error_set(error, STATUS_USAGE, "unknown command '%s';%s there are %s, and --help", word, meant,
                     names);
}

void help_program(FILE *out) {
    fprintf(
        out,
        "train_gpt_lighthouse: pretrains language models at very long context with Lighthouse attention.\n\n"
        "usage: train_gpt_lighthouse COMMAND [options]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    }
    fprintf(
        out,
        "\n  COMMAND --help   its options, with defaults and an example\n"
        "  --version        the version\n\n"
        "Exit status: 0 done, 2 usage, 3 bad data or checkpoint, 4 not enough memory, 5 loss not finite,\n"
        "6 a rank of the job is gone or hangs, 75 preempted after saving.\n");
}

static void help_option(FILE *out, const OptionRow *row) {
    char left[96];
    const char *value = row->type == OPTION_TYPE_FLAG ? ""
                        : row->value                  ? row->value
                        : row->choices                ? row->choices
                                                      : "N";
    snprintf(left, sizeof left, "--%s%s%s", row->name, value[0] ? " " : "", value);
    fprintf(out, "  %-28s %s%s", left, strlen(left) > 28 ? "\n                               " : "",
            row->help);
    if (row->standard && row->standard[0] && row->type != OPTION_TYPE_FLAG)
        fprintf(out, " [%s]", row->standard);
    fprintf(out, "\n");
}

void help_command(FILE *out, const CommandRow *command) {
    fprintf(out, "train_gpt_lighthouse %s%s [options]: %s\n\n%s", command->name, command->inputs,
            command->summary, command->details);
    const char *seen[32];
    int n_seen = 0;
    for (int first = 0; first < OPTION_COUNT; first++) { // groups in the order of their first option
        const char *group = OPTION_TABLE[first].group;
        bool known = !(OPTION_TABLE[first].commands & command->command);
        for (int i = 0; i < n_seen; i++) known = known || strcmp(seen[i], group) == 0;
        if (known) continue;
        seen[n_seen++] = group;
        fprintf(out, "\n%s\n", group);
        for (int i = first; i < OPTION_COUNT; i++) {
            const OptionRow *row = &OPTION_TABLE[i];
            if ((row->commands & command->command) && strcmp(row->group, group) == 0) help_option(out, row);
        }
    }
    if (command->command == COMMAND_TRAIN || command->command == COMMAND_BENCH) {
        fprintf(out, "\nPresets\n");
        for (int i = 0; i < PRESET_COUNT; i++) {
            fprintf(out, "  %-6s %s\n         %s\n", PRESETS[i].name, PRESETS[i].summary,
                    PRESETS[i].settings);
        }
    }
    fprintf(out, "\n  A default stands in brackets. --name=value works too.\n");
}

void help_version(FILE *out) {
    fprintf(out, "train_gpt_lighthouse %s\n", LIGHTHOUSE_VERSION);
}
