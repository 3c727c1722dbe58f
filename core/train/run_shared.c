// Whether the ranks of all hosts share the run's folder; see run_shared.h.
#include "core/train/run_shared.h"

#include "core/base/clock.h"
#include "core/base/files.h"
#include "core/checkpoint/run_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SEEN_SECONDS 5.0 // that a file server may take to show what another host has written

// A name that no host has asked for before: file systems remember for a while what was not there.
static char *probe_path(const char *folder, Ranks *ranks) {
    char name[64] = "";
    if (ranks_first(ranks)) {
        char *id = run_origin_new_id();
        snprintf(name, sizeof name, ".shared_%s", id);
        free(id);
    }
    ranks_broadcast(ranks, name, sizeof name);
    return path_join(folder, name);
}

static bool comes(const char *path) {
    double began = now();
    struct timespec moment = {0, 100000000};
    while (!file_exists(path) && now() - began < SEEN_SECONDS) nanosleep(&moment, NULL);
    return file_exists(path);
}

static bool is_shared(const char *folder, const char *path, const Ranks *ranks, Error *error) {
    if (!comes(path)) {
        return error_set(error, STATUS_DATA,
                         "%s: what rank 0 on %s has written there is not seen here; --out has to lie in a "
                         "folder that all hosts share",
                         folder, ranks_host(ranks, 0));
    }
    return access(folder, W_OK) == 0 ||
           error_set_errno(error, STATUS_DATA, "%s: cannot be written here, where each rank saves its share",
                           folder);
}

bool run_check_shared(const char *folder, Ranks *ranks, Error *error) {
    if (!ranks_many(ranks)) return true;
    char *path = probe_path(folder, ranks);
    bool first = ranks_first(ranks);
    bool ok = ranks_agree(ranks, !first || file_write(path, "", 0, error), error) &&
              ranks_agree(ranks, is_shared(folder, path, ranks, error), error);
    if (first) unlink(path);
    free(path);
    return ok;
}
