// What the environment tells NCCL and Open MPI about the network: which interfaces and adapters to take, and
// how. The program sets none of it.
#ifndef CORE_RANKS_NETWORK_H
#define CORE_RANKS_NETWORK_H

#ifdef __cplusplus
extern "C" {
#endif

// "NAME=VALUE NAME=VALUE" of the variables that are set, in the order of their names; "" for none. Release
// with free().
char *network_variables(void);

#ifdef __cplusplus
}
#endif
#endif
