// The processes of one run; see ranks.h.
#include "core/ranks/ranks.h"

#include "core/ranks/launcher.h"
#include "core/ranks/ranks_guard.h"
#include "core/ranks/ranks_mpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

// ---- Beginning and end

static void alone(Ranks *ranks) {
    memset(ranks, 0, sizeof *ranks);
    ranks->size = ranks->local_size = ranks->context_size = ranks->data_size = 1;
    ranks->patience = RANKS_LONG_PATIENCE;
}

// Of this start of this machine: hosts may share a name.
static uint64_t boot_hash(void) {
    char id[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    size_t length = file ? fread(id, 1, sizeof id, file) : 0;
    if (file) fclose(file);
    return XXH3_64bits(id, length);
}

static RankIdentity identity(void) {
    RankIdentity own;
    char name[256] = "";
    struct stat names;
    memset(&own, 0, sizeof own);
    gethostname(name, sizeof name - 1);
    snprintf(own.host, sizeof own.host, "%.*s", RANK_HOST_SIZE - 1, name);
    own.process = getpid();
    own.machine = XXH3_64bits(name, strlen(name)) ^ boot_hash();
    own.process_set = own.machine;
    if (stat("/proc/self/ns/pid", &names) == 0) own.process_set += (uint64_t)names.st_ino;
    return own;
}

// Open MPI's own word (MPI_COMM_TYPE_SHARED) differs from rank to rank where hosts share a name.
static void find_host(Ranks *ranks) {
    const RankIdentity *all = ranks->connection->identities;
    ranks->host = -1;
    ranks->local_rank = ranks->local_size = 0;
    for (int r = 0; r < ranks->size; r++) {
        if (all[r].machine != all[ranks->rank].machine) continue;
        if (ranks->host < 0) ranks->host = r;
        if (r < ranks->rank) ranks->local_rank++;
        ranks->local_size++;
    }
}

static void connect_ranks(Ranks *ranks) {
    RankConnection *c = (RankConnection *)alloc_or_exit(1, sizeof *c);
    ranks->connection = c;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    ranks_mpi_check(ranks, MPI_Comm_dup(MPI_COMM_WORLD, &c->all), "connecting");
    ranks_mpi_check(ranks, MPI_Comm_dup(MPI_COMM_WORLD, &c->watch), "connecting");
    ranks_mpi_check(ranks, MPI_Comm_dup(MPI_COMM_SELF, &c->context), "connecting");
    c->identities = (RankIdentity *)alloc_or_exit((size_t)ranks->size, sizeof *c->identities);
    c->answers = (RankWord *)alloc_or_exit((size_t)ranks->size, sizeof *c->answers);
    RankIdentity own = identity();
    ranks_gather(ranks, &own, sizeof own, c->identities);
    find_host(ranks);
}

// A launcher that promised more processes than its MPI connects was of another installation, perhaps.
static bool check_size(const Ranks *ranks, const Launch *launch, Error *error) {
    if (launch->size == 0 || launch->size == ranks->size) return true;
    return error_set(error, STATUS_USAGE,
                     "the launcher started %d processes, but MPI sees %d; start them with the mpirun of %s",
                     launch->size, ranks->size, ranks_library());
}

bool ranks_open(Ranks *ranks, bool together, double connecting, Error *error) {
    Launch launch;
    int provided;
    alone(ranks);
    ranks->connecting = connecting;
    bool ok = launcher_find(&launch, error);
    if (!ok || !together || launch.size == 1) {
        ranks->rank = launch.rank;
        ranks->size = launch.size > 0 ? launch.size : 1;
        if (ranks->size == 1) ranks->rank = 0;
        return ok;
    }
    ranks_guard_begin(launch.rank, "the start of MPI", connecting);
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    ranks_guard_end();
    if (code != MPI_SUCCESS) {
        return error_set(error, STATUS_USAGE, "MPI cannot be started under this launcher");
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &ranks->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks->size);
    ranks->data_rank = ranks->rank;
    ranks->data_size = ranks->size;
    if (!check_size(ranks, &launch, error)) return false;
    ranks_guard_begin(ranks->rank, "connecting with the other ranks", connecting);
    connect_ranks(ranks);
    ranks_guard_end();
    return true;
}

bool ranks_split(Ranks *ranks, int64_t context_size, Error *error) {
    if (context_size < 1 || ranks->size % context_size != 0) {
        int64_t below = context_size < ranks->size ? context_size : ranks->size;
        while (below > 1 && ranks->size % below != 0) below--;
        int64_t above = context_size < ranks->size ? context_size : ranks->size;
        while (above < ranks->size && ranks->size % above != 0) above++;
        if (ranks->size == 1) {
            return error_set(
                error, STATUS_USAGE,
                "--cp %lld: this job is one rank; start %lld or a multiple with mpirun -np %lld, or "
                "give --cp 1",
                (long long)context_size, (long long)context_size, (long long)context_size);
        }
        char or_above[32] = "";
        if (above != below) snprintf(or_above, sizeof or_above, " or --cp %lld", (long long)above);
        return error_set(error, STATUS_USAGE,
                         "--cp %lld does not divide the %d ranks of this job; nearest: --cp %lld%s",
                         (long long)context_size, ranks->size, (long long)below, or_above);
    }
    ranks->context_size = (int)context_size;
    ranks->context_rank = ranks->rank % ranks->context_size;
    ranks->data_size = ranks->size / ranks->context_size;
    ranks->data_rank = ranks->rank / ranks->context_size;
    ranks->context_first = ranks->rank - ranks->context_rank;
    return true;
}

void ranks_split_by(Ranks *ranks, int mark) {
    int *marks = (int *)alloc_or_exit((size_t)ranks->size, sizeof *marks);
    ranks_gather(ranks, &mark, sizeof mark, marks);
    ranks->context_rank = ranks->context_size = 0;
    for (int r = ranks->size - 1; r >= 0; r--) {
        if (marks[r] != mark) continue;
        ranks->context_first = r;
        ranks->context_size++;
        if (r < ranks->rank) ranks->context_rank++;
    }
    ranks->data_rank = mark;
    free(marks);
}

void ranks_group(Ranks *ranks) {
    RankConnection *c = ranks->connection;
    if (!c) return;
    Error error = {STATUS_DONE, ""};
    ranks_agree(ranks, true, &error); // all come here under the watch, as the split is not
    MPI_Comm_free(&c->context);
    const char *what = "grouping the ranks of a sequence";
    ranks_guard_begin(ranks->rank, what, ranks->connecting);
    ranks_mpi_check(ranks, MPI_Comm_split(c->all, ranks->data_rank, ranks->rank, &c->context), what);
    ranks_guard_end();
}

void ranks_imagine(Ranks *ranks, int64_t size, int64_t per_host) {
    alone(ranks);
    ranks->size = ranks->data_size = (int)size;
    ranks->local_size = (int)(size < per_host ? size : per_host);
}

void ranks_close(Ranks *ranks) {
    RankConnection *c = ranks->connection;
    int initialized;
    MPI_Initialized(&initialized);
    if (c) {
        Error error = {STATUS_DONE, ""};
        ranks_agree(ranks, true, &error); // under the watch, as MPI_Finalize is not
        ranks_watch_end(c);
        MPI_Comm_free(&c->all);
        MPI_Comm_free(&c->context);
        MPI_Comm_free(&c->watch);
        free(c->identities);
        free(c->answers);
        free(c);
    }
    alone(ranks);
    if (initialized) MPI_Finalize();
}

void ranks_exit(Ranks *ranks, const Error *error) {
    if (ranks->connection && !ranks->agreed) ranks_fail(ranks, error);
    bool speaks = ranks->rank == 0;
    if (!ranks->connection && !speaks) { // the first speaks for all, unless it alone may be well
        sleep(ranks->agreed ? 3 : 1);
        speaks = !ranks->agreed;
    }
    fflush(stdout);
    if (speaks) fprintf(stderr, "train_gpt_lighthouse: error: %s\n", error->message);
    fflush(stderr);
    ranks_close(ranks); // a launcher may stop all ranks when the first leaves with a status
    exit(error->status);
}

// ---- Together

void ranks_gather(Ranks *ranks, const void *mine, size_t size, void *all) {
    if (!ranks->connection) {
        memcpy(all, mine, size);
        return;
    }
    const char *what = "an exchange of the ranks";
    MPI_Request request;
    ranks_mpi_check(
        ranks,
        MPI_Iallgather(mine, (int)size, MPI_BYTE, all, (int)size, MPI_BYTE, ranks->connection->all, &request),
        what);
    ranks_mpi_wait(ranks, &request, 1, what);
}

static void broadcast_from(Ranks *ranks, int root, void *bytes, size_t size) {
    if (!ranks->connection) return;
    const char *what = "a broadcast";
    MPI_Request request;
    ranks_mpi_check(ranks, MPI_Ibcast(bytes, (int)size, MPI_BYTE, root, ranks->connection->all, &request),
                    what);
    ranks_mpi_wait(ranks, &request, 1, what);
}

void ranks_broadcast(Ranks *ranks, void *bytes, size_t size) {
    broadcast_from(ranks, 0, bytes, size);
}

bool ranks_agree(Ranks *ranks, bool ok, Error *error) {
    if (!ranks || !ranks->connection) return ok;
    char *well = (char *)alloc_or_exit((size_t)ranks->size, 1);
    char own = ok ? 1 : 0;
    ranks_gather(ranks, &own, 1, well);
    int first = 0, ill = 0;
    for (int r = ranks->size - 1; r >= 0; r--) {
        if (well[r]) continue;
        first = r;
        ill++;
    }
    free(well);
    if (ill == 0) return true;
    Error told;
    memset(&told, 0, sizeof told);
    if (ranks->rank == first) told = *error;
    broadcast_from(ranks, first, &told, sizeof told);
    *error = told;
    if (ill < ranks->size) error_prefix(error, "rank %d on %s", first, ranks_host(ranks, first));
    ranks->agreed = true;
    return false;
}

bool ranks_agree_worked(Ranks *ranks, bool ok, Error *error) {
    if (!ok && ranks_many(ranks) && error->status != STATUS_NONFINITE) ranks_fail(ranks, error);
    return ranks_agree(ranks, ok, error);
}

void ranks_sum(Ranks *ranks, double *values, int count) {
    if (!ranks->connection) return;
    size_t size = (size_t)count * sizeof *values;
    double *all = (double *)alloc_or_exit((size_t)ranks->size, size);
    ranks_gather(ranks, values, size, all);
    for (int i = 0; i < count; i++) {
        values[i] = 0;
        for (int r = 0; r < ranks->size; r++) values[i] += all[r * count + i];
    }
    free(all);
}

bool ranks_compare(Ranks *ranks, const char *what, uint64_t hash, Error *error) {
    if (!ranks->connection) return true;
    uint64_t *all = (uint64_t *)alloc_or_exit((size_t)ranks->size, sizeof *all);
    ranks_gather(ranks, &hash, sizeof hash, all);
    int other = 1;
    while (other < ranks->size && all[other] == all[0]) other++;
    free(all);
    if (other == ranks->size) return true;
    ranks->agreed = true;
    return error_set(error, STATUS_USAGE,
                     "%s of rank %d on %s differs from that of rank 0 on %s; all ranks need the same", what,
                     other, ranks_host(ranks, other), ranks_host(ranks, 0));
}

// ---- Helpers

bool ranks_device(const Ranks *ranks, int devices, int *device, Error *error) {
    *device = devices == 1 ? 0 : ranks->local_rank; // a launcher may show each rank its own GPU alone
    if (*device < devices) return true;
    return error_set(error, STATUS_USAGE,
                     "this host has %d GPUs and a rank %d on it; start at most %d ranks a host", devices,
                     ranks->local_rank, devices);
}

#define TEXT(number)     #number
#define VERSION(a, b, c) "Open MPI " TEXT(a) "." TEXT(b) "." TEXT(c)

const char *ranks_library(void) {
    return VERSION(OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
}
