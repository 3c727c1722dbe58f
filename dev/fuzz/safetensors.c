// One safetensors file: opened, every tensor read.
#include "harness.h"

#include "core/base/files.h"
#include "core/model/safetensors.h"

#include <stdlib.h>
#include <string.h>

static void read_tensor(const SafetensorsFile *file, int index, size_t size) {
    const SafetensorsTensor *tensor = &file->tensors[index];
    fuzz_must(tensor->begin >= 0 && tensor->begin <= tensor->end && tensor->end <= (int64_t)size,
              "a tensor beyond the file");
    fuzz_must(safetensors_find(file, tensor->name) == index, "a tensor that is not found by its name");
    if (tensor->type == SAFETENSORS_OTHER || tensor->count == 0) return;
    fuzz_must(tensor->count > 0 && tensor->count <= tensor->end - tensor->begin, "more elements than bytes");
    Error error;
    memset(&error, 0, sizeof error);
    // Exactly as long as it must be, so that the sanitizer sees a byte too many.
    float *values = (float *)malloc((size_t)tensor->count * sizeof *values);
    if (!safetensors_read(file, index, 0, tensor->count, values, &error)) fuzz_refused(&error);
    if (!safetensors_read(file, index, tensor->count - 1, 1, values, &error)) fuzz_refused(&error);
    free(values);
}

void fuzz_safetensors(const char *folder, const uint8_t *data, size_t size) {
    fuzz_write(folder, "x.safetensors", data, size);
    char *path = path_join(folder, "x.safetensors");
    SafetensorsFile file;
    Error error;
    memset(&error, 0, sizeof error);
    if (safetensors_open(path, &file, &error)) {
        for (int i = 0; i < file.count; i++) read_tensor(&file, i, size);
        fuzz_must(safetensors_find(&file, "") < 0 || file.tensors[0].name[0] == 0,
                  "an unknown tensor is found");
        safetensors_close(&file);
    } else {
        fuzz_refused(&error);
    }
    free(path);
}

// The header is taken to end with the brace that closes it and the blanks behind that.
size_t fuzz_safetensors_mend(uint8_t *data, size_t size, size_t room, unsigned choice) {
    (void)room, (void)choice;
    int depth = 0;
    for (size_t at = 8; at < size; at++) {
        depth += (data[at] == '{') - (data[at] == '}');
        if (depth > 0 || data[at] != '}') continue;
        while (at + 1 < size && data[at + 1] == ' ') at++;
        uint64_t length = at + 1 - 8;
        memcpy(data, &length, sizeof length);
        break;
    }
    return size;
}
