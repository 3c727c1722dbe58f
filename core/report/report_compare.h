// Whether the losses of the runs in a report compare.
#ifndef CORE_REPORT_COMPARE_H
#define CORE_REPORT_COMPARE_H

#ifdef __cplusplus
extern "C" {
#endif

// Warns where runs that are drawn together have losses of other units, bytes and token ids, or were validated
// on other sequences, as their last checkpoints tell. A log by itself tells neither.
void report_compare(const char *const *runs, int count);

#ifdef __cplusplus
}
#endif
#endif
