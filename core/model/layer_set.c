// A set of a model's layers; see layer_set.h.
#include "core/model/layer_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void layer_set_text(const LayerSet *set, char *text, size_t size) {
    size_t used = 0;
    snprintf(text, size, "none");
    for (int i = 0; i < MODEL_MAX_LAYERS && used < size; i++)
        if (set->has[i]) used += (size_t)snprintf(text + used, size - used, "%s%d", used ? "," : "", i);
}

bool layer_set_parse(const char *text, LayerSet *set, Error *error) {
    memset(set, 0, sizeof *set);
    if (strcmp(text, "none") == 0) return true;
    for (const char *start = text;;) {
        char *end;
        long layer = strtol(start, &end, 10);
        if (end == start || (*end && *end != ',')) {
            return error_set(error, STATUS_USAGE,
                             "must be numbers of layers with commas between, as 3,7,11, or none");
        }
        if (layer < 0 || layer >= MODEL_MAX_LAYERS)
            return error_set(error, STATUS_USAGE, "there is no layer %ld; they go from 0", layer);
        set->has[layer] = true;
        if (!*end) return true;
        start = end + 1;
    }
}

int layer_set_last(const LayerSet *set) {
    int last = MODEL_MAX_LAYERS - 1;
    while (last >= 0 && !set->has[last]) last--;
    return last;
}
