// What started this process; see launcher.h.
#include "core/ranks/launcher.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>

// The whole number in an environment variable; `otherwise` where there is none.
static int variable(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text && text[0] ? (int)strtol(text, NULL, 10) : otherwise;
}

// A batch script is task 0 of no step; salloc's shell has no number.
static int slurm_tasks(void) {
    int rank = variable("SLURM_PROCID", -1);
    if (rank < 0) return 1;
    return variable("SLURM_STEP_NUM_TASKS", rank > 0 ? variable("SLURM_NTASKS", 1) : 1);
}

// Launchers that our MPI cannot speak with. Under Slurm, which counts tasks itself, job scripts set RANK by
// hand.
static const struct {
    const char *name, *mark, *size, *rank, *unless; // variables
} foreign[] = {
    {"a launcher of MPICH's or Intel MPI's kind", "PMI_RANK", "PMI_SIZE", "PMI_RANK", NULL},
    {"MVAPICH's launcher", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", NULL},
    {"torchrun", "TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", NULL},
    {"a launcher of PyTorch's kind (DeepSpeed's, accelerate's)", "LOCAL_RANK", "WORLD_SIZE", "RANK", NULL},
    {"a launcher that sets RANK and WORLD_SIZE", "RANK", "WORLD_SIZE", "RANK", "SLURM_PROCID"},
};

static bool refuse(Launch *launch, const char *name, int size, const char *unset, Error *error) {
    launch->size = size;
    return error_set(error, STATUS_USAGE,
                     "%s started this program %d times, and each would work alone: it is built with Open "
                     "MPI, whose mpirun starts ranks (scripts/mpirun.sh -np %d ...), or srun --mpi=pmix%s%s",
                     name, size, size, unset ? "; a process that is alone: unset " : "", unset ? unset : "");
}

// Whether none of them started several processes.
static bool check_foreign(Launch *launch, Error *error) {
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        int size = variable(foreign[i].size, 1);
        if (size < 2 || !getenv(foreign[i].mark)) continue;
        if (foreign[i].unless && getenv(foreign[i].unless)) continue;
        launch->rank = variable(foreign[i].rank, 0);
        return refuse(launch, foreign[i].name, size, foreign[i].size, error);
    }
    return true;
}

bool launcher_find(Launch *launch, Error *error) {
    launch->size = variable("OMPI_COMM_WORLD_SIZE", 0);
    launch->rank = variable("OMPI_COMM_WORLD_RANK", variable("PMIX_RANK", variable("SLURM_PROCID", 0)));
    if (launch->size > 0) return true;
    if (getenv("PMIX_RANK")) {
        launch->size = getenv("SLURM_PROCID") ? slurm_tasks() : 0;
        return launch->size != 1 || check_foreign(launch, error); // the one task may be a launcher
    }
    launch->size = 1;
    if (slurm_tasks() > 1) {
        return refuse(launch, "srun without PMIx (--mpi=none or pmi2)", slurm_tasks(), NULL, error);
    }
    return check_foreign(launch, error);
}

void launcher_reads(int file) {
    struct timespec moment = {0, 20000000};
    int left = 0;
    for (int i = 0; i < 100 && ioctl(file, FIONREAD, &left) == 0 && left > 0; i++) nanosleep(&moment, NULL);
    moment.tv_nsec = 100000000; // and has passed it on
    nanosleep(&moment, NULL);
}
