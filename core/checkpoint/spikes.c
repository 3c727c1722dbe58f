// The window that tells spikes from other updates; see spikes.h.
#include "core/checkpoint/spikes.h"

#include "core/base/json_file.h"

#include <math.h>
#include <string.h>

#define LEAST_DEVIATION 1e-3 // of the mean

static double limit(const double *values, int count, double deviations) {
    double sum = 0, squares = 0;
    for (int i = 0; i < count; i++) sum += values[i];
    double mean = sum / count;
    for (int i = 0; i < count; i++) squares += (values[i] - mean) * (values[i] - mean);
    return mean + deviations * fmax(sqrt(squares / (count - 1)), LEAST_DEVIATION * fabs(mean));
}

SpikeLimits spikes_limits(const SpikeWindow *window, double deviations) {
    SpikeLimits limits = {INFINITY, INFINITY};
    if (deviations <= 0 || window->count < SPIKE_LEAST) return limits;
    limits.loss = limit(window->loss, window->count, deviations);
    limits.norm = limit(window->norm, window->count, deviations);
    return limits;
}

void spikes_made(SpikeWindow *window, double loss, double norm) {
    if (window->count == SPIKE_WINDOW) {
        window->count--;
        memmove(window->loss, window->loss + 1, (size_t)window->count * sizeof *window->loss);
        memmove(window->norm, window->norm + 1, (size_t)window->count * sizeof *window->norm);
    }
    window->loss[window->count] = loss;
    window->norm[window->count] = norm;
    window->count++;
    window->skipped = 0;
}

void spikes_forget(SpikeWindow *window) {
    window->count = window->skipped = 0;
}

static json_t *values_json(const double *values, int count) {
    json_t *array = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(array, json_number(values[i]));
    return array;
}

json_t *spikes_json(const SpikeWindow *window) {
    return json_pack("{s:i, s:o, s:o}", "skipped", window->skipped, "loss",
                     values_json(window->loss, window->count), "norm",
                     values_json(window->norm, window->count));
}

static bool values_parse(const json_t *array, double *values) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value)) return false;
        values[i] = json_number_value(value);
    }
    return true;
}

bool spikes_parse(const json_t *json, SpikeWindow *window) {
    const json_t *loss = json_object_get(json, "loss"), *norm = json_object_get(json, "norm");
    size_t count = json_array_size(loss);
    int64_t skipped;
    if (!json_is_array(loss) || !json_is_array(norm) || count > SPIKE_WINDOW ||
        json_array_size(norm) != count)
        return false;
    if (!json_member_int(json, "skipped", 0, SPIKE_MOST_SKIPS, &skipped)) return false;
    window->count = (int)count;
    window->skipped = (int)skipped;
    return values_parse(loss, window->loss) && values_parse(norm, window->norm);
}
