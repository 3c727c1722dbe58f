// Spikes: updates whose loss or gradient norm is far above those of the updates before; --skip-spikes leaves
// them out.
//
// The window of the last updates' losses and norms is part of the trainer's state, so that a resumed run
// judges the same. It holds updates that were made alone, of one stage: Lighthouse and dense losses do not
// compare.
#ifndef CORE_CHECKPOINT_SPIKES_H
#define CORE_CHECKPOINT_SPIKES_H

#include <jansson.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPIKE_WINDOW     128 // updates that are looked back on
#define SPIKE_LEAST      32  // updates in the window before it judges
#define SPIKE_MOST_SKIPS 10  // updates skipped in a row, and then it is no spike

typedef struct {
    int count;                                     // updates in the window
    int skipped;                                   // in a row, up to now
    double loss[SPIKE_WINDOW], norm[SPIKE_WINDOW]; // oldest first
} SpikeWindow;

// What an update's loss and norm may be at most; INFINITY where nothing is judged.
typedef struct {
    double loss, norm;
} SpikeLimits;

// Means and `deviations` standard deviations of the window; 0 deviations: no limits. A deviation counts as a
// thousandth of its mean at least, so that values that hardly move make no spikes.
SpikeLimits spikes_limits(const SpikeWindow *window, double deviations);

// An update was made: its values enter the window, the oldest leave it.
void spikes_made(SpikeWindow *window, double loss, double norm);

// Empties the window.
void spikes_forget(SpikeWindow *window);

// The window as JSON, a new reference, and back; false where it is none.
json_t *spikes_json(const SpikeWindow *window);
bool spikes_parse(const json_t *json, SpikeWindow *window);

#ifdef __cplusplus
}
#endif
#endif
