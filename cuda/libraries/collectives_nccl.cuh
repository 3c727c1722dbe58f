// Collectives over device memory by NCCL; see core/ranks/collectives.h.
//
// Every queue has a stream of its own: an operation waits there for what the caller's stream held before the
// call, and collectives_wait lets the caller's stream wait for the queue's. The host waits for neither; only
// making an operation can take it a moment, under the watch over ranks. collectives_progress looks for
// trouble that NCCL has found on its own, and ends the job then.
#ifndef CUDA_COLLECTIVES_NCCL_CUH
#define CUDA_COLLECTIVES_NCCL_CUH

#include "core/ranks/collectives.h"

#include <cuda_runtime.h>

// A queue of a group on the present GPU, beside the caller's stream; all ranks of the job open it together,
// after ranks_group. Each rank needs a GPU of its own, else the job ends here. It never fails.
Collectives *collectives_nccl(Ranks *ranks, RankGroup group, cudaStream_t stream);

#endif
