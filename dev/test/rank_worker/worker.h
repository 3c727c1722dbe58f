// One rank of a test: `mpirun -np W build/rank_worker SCENARIO [P]`, started by dev/test/ranks/test_ranks.c,
// and the same on the GPU, build/test_gpu_ranks, by dev/test/gpu_ranks.sh.
#ifndef DEV_TEST_RANK_WORKER_WORKER_H
#define DEV_TEST_RANK_WORKER_WORKER_H

#include "core/ranks/collectives.h"
#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// The engine under test, the memory of its queues, and how close several ranks must come to one that has all
// the work alone.
typedef struct {
    const EngineApi *engine;
    bool (*prepare)(const Ranks *ranks, Error *error); // before anything else; NULL for nothing
    Collectives *(*open_queue)(Ranks *ranks, RankGroup group);
    void *(*take)(size_t size); // zeroed
    void (*release)(void *memory);
    void (*put)(void *memory, const void *from, size_t size); // from host memory
    void (*get)(void *to, const void *memory, size_t size);   // to host memory, when all work is done
    size_t (*free_memory)(void);                              // where queues take some; NULL where not
    // Relative differences, ||a - b|| / ||b|| of each tensor.
    double gradients, losses, norms;    // of the first of ten updates; of all of them
    double weights, moments;            // after them
    double slice_loss, slice_gradients; // of one step with ranks that share sequences
    double copied_gradients;            // of the same where ranks have copies of a key/value head
} Subject;

// Seconds after which a rank that does not come hangs, for tests of just that: much more than a busy machine
// lets a rank wait that is well.
#define IMPATIENT 8

// All of a worker's main.
int worker_main(int argc, char **argv, const Subject *subject);

// Takes the job down with a message where `right` does not hold.
void expect(Ranks *ranks, bool right, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Every operation of core/ranks/collectives.h, in both groups; agreement, sums and comparisons.
void scenario_interface(Ranks *ranks, const Subject *subject);
// W ranks on sequences of their own against one engine that has them all.
void scenario_data(Ranks *ranks, const Subject *subject);
// P ranks on the slices of sequences, W / P of those, against one engine that has all; every scorer, dense
// too.
void scenario_context(Ranks *ranks, const Subject *subject);
// Ranks that keep their shares of the gradients alone, on any slices: the bits of those that hold all, and
// on sequences of their own against one engine.
void scenario_shares(Ranks *ranks, const Subject *subject);
// One rank's checkpoint and that of several ranks are the same files, and each reads the other's.
void scenario_checkpoint(Ranks *ranks, const Subject *subject);
// Waits for a rank that does not come: it hangs, or dies. Together on the host, or in an update.
void scenario_hang(Ranks *ranks, const Subject *subject);
void scenario_die(Ranks *ranks, const Subject *subject);
void scenario_update_hangs(Ranks *ranks, const Subject *subject);
void scenario_update_dies(Ranks *ranks, const Subject *subject);

#ifdef __cplusplus
}
#endif
#endif
