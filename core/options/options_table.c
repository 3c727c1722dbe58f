// The table of options.def, and the presets; see options_table.h.
#include "core/options/options_table.h"
#include "core/engine/offload.h"

#include <stddef.h>

const OptionRow OPTION_TABLE[OPTION_COUNT] = {
#define TRAIN    COMMAND_TRAIN
#define PACK     COMMAND_PACK
#define EVAL     COMMAND_EVAL
#define GENERATE COMMAND_GENERATE
#define INFO     COMMAND_INFO
#define BENCH    COMMAND_BENCH
#define NIAH     COMMAND_NIAH
#define EXPORT   COMMAND_EXPORT
#define REPORT   COMMAND_REPORT
#define STEERS   OPTION_STEERS
#define FIXED    OPTION_FIXED
#define PATH     OPTION_PATH
#define SOURCES  OPTION_SOURCES
#define OPTION(type_, field, name_, commands_, default_, lowest_, highest_, choices_, flags_, group_, \
               value_, help_)                                                                         \
    {                                                                                                 \
        .type = OPTION_TYPE_##type_,                                                                  \
        .offset = offsetof(Options, field),                                                           \
        .name = (name_),                                                                              \
        .commands = (commands_),                                                                      \
        .default_text = (default_),                                                                   \
        .lowest = (double)(lowest_),                                                                  \
        .highest = (double)(highest_),                                                                \
        .choices = (choices_),                                                                        \
        .flags = (flags_),                                                                            \
        .group = (group_),                                                                            \
        .value = (value_),                                                                            \
        .help = (help_),                                                                              \
    },
#include "core/options/options.def"
#undef OPTION
#undef TRAIN
#undef PACK
#undef EVAL
#undef GENERATE
#undef INFO
#undef BENCH
#undef NIAH
#undef EXPORT
#undef REPORT
#undef STEERS
#undef FIXED
#undef PATH
#undef SOURCES
};

// Shape, context and recipe of a name, as settings of the table.
const PresetRow PRESETS[] = {
    // PRESET_COUNT, or it does not compile
    {"530m", "the paper's model: a byte model under a 128,256-row vocabulary",
     "layers=30 dim=1024 heads=8 kv-heads=8 head-dim=128 ffn=1536 vocab=128256 seq-len=98304 topk=1536 "
     "pool=4 levels=3"},
    {"270m", "the same body under a byte vocabulary",
     "layers=30 dim=1024 heads=8 kv-heads=8 head-dim=128 ffn=1536 vocab=320 seq-len=98304 topk=1536 pool=4 "
     "levels=3"},
    {"small", "27 M parameters: minutes on one GPU",
     "layers=12 dim=512 heads=4 kv-heads=4 head-dim=128 ffn=768 vocab=320 seq-len=16384 topk=256 pool=4 "
     "levels=3 "
     "global-batch=4 steps=1600 lr=1e-3 warmup=200"},
    {"tiny", "1 M parameters: a minute on a CPU",
     "layers=6 dim=128 heads=2 kv-heads=2 head-dim=64 ffn=256 vocab=320 seq-len=2048 topk=256 pool=2 "
     "levels=3 global-batch=1 steps=400 lr=3e-3 warmup=20 val-every=100 val-batches=16 checkpoint-every=100 "
     "log-every=10"},
    {"2b", "24 layers of 2,048, 32 heads of 64",
     "layers=24 dim=2048 heads=32 kv-heads=32 head-dim=64 ffn=8192 vocab=128256 seq-len=98304 topk=1536 "
     "pool=4 levels=3"},
    {"8b", "the shape of Llama 3 8B",
     "layers=32 dim=4096 heads=32 kv-heads=8 head-dim=128 ffn=14336 vocab=128256 seq-len=98304 topk=1536 "
     "pool=4 levels=3"},
};
