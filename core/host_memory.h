// Memory of this machine that a program may still take.
#ifndef CORE_HOST_MEMORY_H
#define CORE_HOST_MEMORY_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// In bytes: what the kernel says is available, or what the limit of this container (cgroup 2) leaves, the
// less of both.
size_t host_memory_available(void);

#ifdef __cplusplus
}
#endif
#endif
