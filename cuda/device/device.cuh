// The GPU of this process: whether there is one, its name, and what it could do at best.
#ifndef CUDA_DEVICE_CUH
#define CUDA_DEVICE_CUH

#include <stddef.h>

bool cuda_present(void);

// Writes the GPU's name; gives its dense bf16 peak in FLOPs a second, 0 for a GPU that the table does not
// know.
double cuda_describe_device(char *name, size_t size);

#endif
