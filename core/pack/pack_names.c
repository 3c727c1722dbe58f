// What the names of `pack`'s inputs tell; see pack_names.h.
#include "core/pack/pack_names.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

// Whether one of the words, by letters, of the file's name or its folder's is listed.
static bool has_word(const char *path, const char *const *words) {
    const char *at = path + strlen(path);
    for (int slashes = 0; at > path && slashes < 2; at--) slashes += at[-1] == '/';
    while (*at) {
        size_t size = 0;
        while (isalpha((unsigned char)at[size])) size++;
        for (const char *const *word = words; *word; word++) {
            if (strlen(*word) == size && strncasecmp(at, *word, size) == 0) return true;
        }
        at += size + (at[size] != 0);
    }
    return false;
}

void pack_names_of_validation(const PackInputs *inputs, LeftOut *found) {
    static const char *const training[] = {"train", "training", NULL};
    static const char *const other[] = {"val", "valid", "validation", "eval", "dev", "test", NULL};
    bool any = false;
    for (int64_t i = 0; !any && i < inputs->count; i++) any = has_word(inputs->files[i].path, training);
    for (int64_t i = 0; any && i < inputs->count; i++) {
        const char *path = inputs->files[i].path;
        left_out_add(found, "file", path, !has_word(path, training) && has_word(path, other));
    }
}
