// Names of files, and constants, that several rooms share.
#ifndef CORE_BASE_NAMES_H
#define CORE_BASE_NAMES_H

#define RUN_FILE       "run.json"          // of a run: its settings
#define LOG_FILE       "log.jsonl"         // of a run: a line an update
#define CONFIG_FILE    "config.json"       // of a model folder, as transformers has it
#define WEIGHTS_FILE   "model.safetensors" // of a model folder
#define TOKENIZER_FILE "tokenizer.json"    // of a model folder

#endif
