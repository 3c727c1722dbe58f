// Folders that hold a model, but not as this program reads one; see folder_kind.h.
#include "core/model/folder_kind.h"

#include "core/base/files.h"

#include <stdlib.h>
#include <string.h>

#define SAVE_AGAIN                                                                                 \
    "with transformers: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW) writes " \
    "safetensors; "                                                                                \
    "copy the tokenizer's files beside them"

// What a file of such a name shows; the first row that fits counts.
static const struct {
    const char *pattern, *what;
} shows[] = {
    {"adapter_config.json",
     "an adapter (LoRA), no whole model: merge it into its base model first (peft: merge_and_unload, "
     "save_pretrained)"},
    {"*.gguf", "a GGUF model of llama.cpp; take the safetensors that it was made from"},
    {"params.json",
     "weights in Meta's or Mistral's own format; take the repository's files in that of transformers "
     "(config.json and model*.safetensors), or convert them with its "
     "convert_llama_weights_to_hf.py"},
    {"consolidated*", "weights in Meta's or Mistral's own format; take the repository's files in that of "
                      "transformers (config.json and model*.safetensors)"},
    {"pytorch_model*.bin", "weights as PyTorch's pickles; save them again " SAVE_AGAIN},
    {"*.pth", "weights as PyTorch's pickles; save them again " SAVE_AGAIN},
    {"*.pt", "weights as PyTorch's pickles; save them again " SAVE_AGAIN},
    {"tf_model.h5", "weights of TensorFlow; save them again " SAVE_AGAIN},
    {"flax_model*", "weights of Flax; save them again " SAVE_AGAIN},
    {"*.onnx", "an ONNX model; take the safetensors that it was made from"},
    {"model-*-of-*.safetensors", "parts of a model without model.safetensors.index.json, which lists them; "
                                 "download that too"},
    {"model.*-of-*.safetensors", "parts of a model without model.safetensors.index.json, which lists them; "
                                 "download that too"},
};

static bool has(const char *folder, const char *pattern) {
    PathList found;
    Error ignored;
    bool any = folder_match(folder, pattern, &found, &ignored) && found.count > 0;
    paths_free(&found);
    return any;
}

// Sets the error where some file shows what the folder is; false where none does.
static bool show(const char *folder, Error *error) {
    for (size_t i = 0; i < sizeof shows / sizeof *shows; i++) {
        if (!has(folder, shows[i].pattern)) continue;
        error_set(error, STATUS_DATA, "%s: holds %s", folder, shows[i].what);
        return true;
    }
    return false;
}

// models--OWNER--NAME of a cache, with a folder for each version. False where it is none.
static bool show_cache(const char *folder, Error *error) {
    char *snapshots = path_join(folder, "snapshots");
    PathList found;
    Error ignored;
    bool is = folder_exists(snapshots) && folder_match(snapshots, "*", &found, &ignored);
    if (is) {
        error_set(error, STATUS_DATA, "%s: is a Hugging Face cache's folder; name the version in it: %s",
                  folder, found.count == 1 ? found.paths[0] : snapshots);
        paths_free(&found);
    }
    free(snapshots);
    return is;
}

// OWNER/NAME, as on the Hugging Face Hub.
static bool is_hub_name(const char *path) {
    const char *slash = strchr(path, '/');
    return slash && slash > path && slash[1] && !strchr(slash + 1, '/') && path[0] != '.' && path[0] != '~';
}

bool folder_explain(const char *path, const char *option, Error *error) {
    if (file_exists(path)) {
        char *folder = path_parent(path);
        error_set(error, STATUS_DATA,
                  "%s %s: is a file; name the folder of config.json and model.safetensors (%s?)", option,
                  path, folder);
        free(folder);
        return true;
    }
    if (folder_exists(path)) return show_cache(path, error) || show(path, error);
    if (!is_hub_name(path)) return false;
    error_set(
        error, STATUS_DATA,
        "%s %s: no such folder; if that is a model on the Hugging Face Hub, download it first: hf download "
        "%s --local-dir FOLDER",
        option, path, path);
    return true;
}

bool folder_refuse(const char *path, const char *option, Error *error) {
    return !folder_explain(path, option, error) &&
           error_set(error, STATUS_DATA, "%s %s: %s", option, path,
                     folder_exists(path) ? "no model folder: it has no config.json" : "no such folder");
}

bool folder_refuse_weights(const char *folder, Error *error) {
    return !show(folder, error) &&
           error_set(
               error, STATUS_DATA,
               "%s: no model folder: neither model.safetensors nor model.safetensors.index.json is there",
               folder);
}

bool folder_check_adapter(const char *folder, Error *error) {
    return !has(folder, "adapter_config.json") || !show(folder, error);
}
