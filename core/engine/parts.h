// The parts of a training step, and a clock that tells on the host how long each takes. The clock of the CUDA
// engine, which asks the GPU instead, is cuda/device/parts.cuh.
#ifndef CORE_ENGINE_PARTS_H
#define CORE_ENGINE_PARTS_H

#ifdef __cplusplus
extern "C" {
#endif

#define PART_TABLE(ROW)                          \
    ROW(PART_PRODUCTS, "matrix products")        \
    ROW(PART_DENSE_ATTENTION, "dense attention") \
    ROW(PART_LIGHTHOUSE, "Lighthouse attention") \
    ROW(PART_ELEMENTWISE, "elementwise")         \
    ROW(PART_HEAD, "head and loss")              \
    ROW(PART_EMBEDDING, "embedding")             \
    ROW(PART_OPTIMIZER, "optimizer")             \
    ROW(PART_RANKS, "waiting for other ranks")   \
    ROW(PART_HOST, "waiting for host memory")

typedef enum {
#define PART_ROW(part, name) part,
    PART_TABLE(PART_ROW)
#undef PART_ROW
        PART_COUNT
} Part;

const char *part_name(Part part);

// All zero: a clock that stands still and costs nothing.
typedef struct {
    double *seconds; // (PART_COUNT) added to; NULL: the time is not taken
    Part current;    // PART_COUNT for none
    double since;
} PartClock;

// From here on the work is of this part; the one before it ends.
void part_begin(PartClock *clock, Part part);
// The same, within a part; gives that one, to go on with.
Part part_switch(PartClock *clock, Part part);
// The part in progress ends, and none begins.
void part_end(PartClock *clock);

#ifdef __cplusplus
}
#endif
#endif
