// The files of a model folder that a model keeps; see kept_files.h.
#include "core/base/kept_files.h"

#include "core/base/foreign.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)256 << 20) // of one file

#define TEMPLATES "additional_chat_templates"

// Names that libraries give to tokenizers of all kinds, and to what goes with them. Case is no matter.
static const char *const patterns[] = {
    "tokenizer*.json",
    "tokenizer.*", // tokenizer.model of sentencepiece, tokenizer.model.v3
    "tokenization*.py",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*.json",
    "vocab*.txt",
    "vocab*.bpe",
    "merges*.txt",
    "*.model",
    "*.tiktoken",
    "tiktoken*",
    "tekken.json",
    "spiece*",
    "sentencepiece*",
    "spm*",
    "*.spm",
    "normalizer.json",
    "chat_template*",
    "*.jinja",
    "generation_config*.json",
    "LICEN[CS]E*",
    "COPYING*",
    "NOTICE*",
    "USE_POLICY*",
};

bool kept_name(const char *name) {
    if (strlen(name) >= KEPT_NAME_SIZE || name[0] == '.') return false;
    const char *slash = strchr(name, '/');
    if (slash) {
        return strncmp(name, TEMPLATES "/", sizeof TEMPLATES) == 0 && !strchr(slash + 1, '/') &&
               slash[1] != '.' && path_has_ending(name, ".jinja");
    }
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (fnmatch(patterns[i], name, FNM_CASEFOLD) == 0) return true;
    return false;
}

// Adds the kept ones of the folder's part `inner`, "" for its top.
static bool names_add(const char *folder, const char *inner, PathList *names, Error *error) {
    char *path = path_join(folder, inner);
    PathList entries;
    bool ok = folder_list(path, &entries, error);
    for (int64_t i = 0; ok && i < entries.count; i++) {
        char *name = inner[0] ? path_join(inner, entries.paths[i]) : copy_or_exit(entries.paths[i]);
        char *file = path_join(folder, name);
        if (kept_name(name) && file_exists(file)) {
            paths_add(names, name);
        } else if (kept_name(name) && !folder_exists(file)) {
            ok = error_set(error, STATUS_DATA, "%s: a link to a file that is not there; download it again",
                           file);
        }
        free(file);
        free(name);
    }
    paths_free(&entries);
    free(path);
    return ok;
}

bool kept_names_list(const char *folder, PathList *names, Error *error) {
    memset(names, 0, sizeof *names);
    char *templates = path_join(folder, TEMPLATES);
    bool ok = names_add(folder, "", names, error) &&
              (!folder_exists(templates) || names_add(folder, TEMPLATES, names, error));
    free(templates);
    if (ok && names->count > KEPT_MAX) {
        ok = error_set(error, STATUS_DATA,
                       "%s: %lld tokenizer, template and licence files; no more than %d can be kept", folder,
                       (long long)names->count, KEPT_MAX);
    }
    if (!ok) paths_free(names);
    return ok;
}

static const char *trimmed(const char *text, size_t *size) {
    while (*size > 0 && isspace((unsigned char)text[*size - 1])) --*size;
    while (*size > 0 && isspace((unsigned char)*text)) text++, --*size;
    return text;
}

// What a full disk or a download that broke off leaves: it is kept, and told.
static void warn_of_torn(const char *path, const char *text, size_t size) {
    if (!path_has_ending(path, ".json")) return;
    text = trimmed(text, &size);
    bool whole =
        size >= 2 && ((text[0] == '{' && text[size - 1] == '}') || (text[0] == '[' && text[size - 1] == ']'));
    if (!whole) warn("%s is %s: fetch it again", path, size == 0 ? "empty" : "no whole JSON");
}

// As in diffusers' folders.
static void warn_of_folders(const char *folder, Error *error) {
    PathList entries;
    if (!folder_list(folder, &entries, error)) return;
    for (int64_t i = 0; i < entries.count; i++) {
        char *file = path_join(folder, entries.paths[i]);
        if (fnmatch("tokenizer*", entries.paths[i], FNM_CASEFOLD) == 0 && folder_exists(file)) {
            warn("%s is a folder, and is not kept: move the tokenizer's files into %s", file, folder);
        }
        free(file);
    }
    paths_free(&entries);
}

static bool file_keep(const char *folder, const char *name, KeptFiles *kept, Error *error) {
    KeptFile file = {NULL, NULL, 0};
    char *path = path_join(folder, name);
    file.text = file_read(path, MAX_BYTES, &file.size, error);
    bool ok = file.text && foreign_refuse(path, file.text, file.size, error);
    if (ok) warn_of_torn(path, file.text, file.size);
    free(path);
    if (!ok) {
        free(file.text);
        return false;
    }
    file.name = copy_or_exit(name);
    kept->files[kept->count++] = file;
    return true;
}

bool kept_files_read(const char *folder, KeptFiles *kept, Error *error) {
    PathList names;
    memset(kept, 0, sizeof *kept);
    if (!kept_names_list(folder, &names, error)) return false;
    bool ok = true;
    warn_of_folders(folder, error);
    for (int64_t i = 0; ok && i < names.count; i++) ok = file_keep(folder, names.paths[i], kept, error);
    paths_free(&names);
    if (!ok) kept_files_free(kept);
    return ok;
}

void kept_files_free(KeptFiles *kept) {
    for (int i = 0; i < kept->count; i++) {
        free(kept->files[i].name);
        free(kept->files[i].text);
    }
    memset(kept, 0, sizeof *kept);
}

const KeptFile *kept_files_find(const KeptFiles *kept, const char *name) {
    for (int i = 0; i < kept->count; i++)
        if (strcmp(kept->files[i].name, name) == 0) return &kept->files[i];
    return NULL;
}

void kept_files_drop(KeptFiles *kept, const char *name) {
    const KeptFile *file = kept_files_find(kept, name);
    if (!file) return;
    int at = (int)(file - kept->files);
    free(file->name);
    free(file->text);
    kept->count--;
    memmove(kept->files + at, kept->files + at + 1, (size_t)(kept->count - at) * sizeof *kept->files);
}
