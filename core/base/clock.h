// The time, for durations.
#ifndef CORE_BASE_CLOCK_H
#define CORE_BASE_CLOCK_H

#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

// Seconds since some moment in the past; no change of the machine's date moves it.
static inline double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

#ifdef __cplusplus
}
#endif
#endif
