// The guard over calls in which MPI blocks, so that the watch cannot look: its beginning, and new groups of
// ranks. Where hosts cannot reach each other, or a rank died before it had come there, they never end.
#ifndef CORE_RANKS_RANKS_GUARD_H
#define CORE_RANKS_RANKS_GUARD_H

#ifdef __cplusplus
extern "C" {
#endif

// From here on the process has `seconds` until ranks_guard_end; then it ends with STATUS_RANKS and one line,
// which says what did not end, and what to do about it; the launcher ends the others. `rank` is this one's
// number, as far as it is known: lower ones speak first. One guard at a time.
void ranks_guard_begin(int rank, const char *what, double seconds);
void ranks_guard_end(void);

#ifdef __cplusplus
}
#endif
#endif
