// One rank of a test on the CPU engine; see worker.h.
#include "dev/test/rank_worker/worker.h"

#include <stdlib.h>
#include <string.h>

static void *take(size_t size) {
    return alloc_or_exit(size, 1);
}

static void copy(void *to, const void *from, size_t size) {
    memcpy(to, from, size);
}

int main(int argc, char **argv) {
    Subject subject = {
        engine_cpu(), NULL, collectives_mpi, take, free, copy, copy, NULL, 0, 0, 0, 0, 0, 0, 0, 0};
    subject.gradients = subject.losses = subject.norms = subject.slice_gradients = subject.copied_gradients =
        1e-6;
    subject.weights = 1e-5;
    subject.moments = 1e-4;
    subject.slice_loss = 1e-13; // the sum of as many numbers in another order: no more than its own rounding
    return worker_main(argc, argv, &subject);
}
