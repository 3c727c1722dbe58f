// Files that are not what their names say; see foreign.h.
#include "core/base/foreign.h"

#include "core/base/file_kind.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

bool foreign_is_page(const char *text, size_t size) {
    static const char *const tags[] = {"<!doctype", "<html", "<?xml", "<head"};
    while (size > 0 && isspace((unsigned char)*text)) text++, size--;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (size >= strlen(tags[i]) && strncasecmp(text, tags[i], strlen(tags[i])) == 0) return true;
    return false;
}

bool foreign_refuse(const char *path, const void *first, size_t size, Error *error) {
    const FileKind *kind = file_kind_of((const char *)first, size);
    char command[512];
    if (kind && kind->command && strstr(kind->name, "pointer")) {
        file_kind_command(kind->command, path, command, sizeof command);
        return error_set(error, STATUS_DATA, "%s: is a %s, not the file itself; fetch it with: %s", path,
                         kind->name, command);
    }
    return !foreign_is_page((const char *)first, size) ||
           error_set(error, STATUS_DATA,
                     "%s: is a web page, not the file itself; download it again (it may take a log-in)",
                     path);
}

bool foreign_refuse_weights(const char *path, const void *first, size_t size, Error *error) {
    static const struct {
        const char *kind, *advice;
    } rows[] = {
        {"zip archive", "if PyTorch wrote it, save the model as safetensors (save_pretrained)"},
        {"pickle", "save the model as safetensors (save_pretrained)"},
        {"GGUF model", "take the model that it was made from"},
        {"HDF5 file", "save the model as safetensors (save_pretrained)"},
        {"gzip file", "decompress it with gunzip"},
    };
    if (!foreign_refuse(path, first, size, error)) return false;
    const FileKind *kind = file_kind_of((const char *)first, size);
    for (size_t i = 0; kind && i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(kind->name, rows[i].kind) != 0) continue;
        return error_set(error, STATUS_DATA, "%s: is %s %s, not safetensors; %s", path,
                         file_kind_article(kind), kind->name, rows[i].advice);
    }
    return true;
}
