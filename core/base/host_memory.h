// Memory of this machine that a program may still take.
#ifndef CORE_BASE_HOST_MEMORY_H
#define CORE_BASE_HOST_MEMORY_H

#include "core/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// In bytes: what the kernel says is available, or what the limit of this container (cgroup 2) leaves, the
// less of both.
size_t host_memory_available(void);

// Error (status 4) where the limit of the stack (ulimit -s) leaves less than libraries take without asking.
bool host_stack_check(Error *error);

#ifdef __cplusplus
}
#endif
#endif
