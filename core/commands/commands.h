// The commands of the program: from its command line to its exit status.
#ifndef CORE_COMMANDS_COMMANDS_H
#define CORE_COMMANDS_COMMANDS_H

#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

// The engine of --device; NULL on error. `plans`: it need not be able to run here.
typedef const EngineApi *(*ChooseEngine)(int device, bool plans, const Ranks *ranks, Error *error);
typedef bool (*CommandTrain)(Options *options, Ranks *ranks, Error *error);

// The whole program; its exit status. Which engines there are, and how a model is trained, is given.
int commands_main(int argc, char **argv, ChooseEngine choose, CommandTrain train);

// Of all ranks the same engine, which computes what it should; NULL on error. Within commands_main.
const EngineApi *commands_engine(int device, bool plans, Ranks *ranks, Error *error);

#ifdef __cplusplus
}
#endif
#endif
