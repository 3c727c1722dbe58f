// The one object that has the Lighthouse layer's kernels.
#include "lighthouse.cuh"
