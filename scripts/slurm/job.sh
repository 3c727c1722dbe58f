# shellcheck shell=bash
# What the jobs share: training under srun until it is done. Sourced by the .sbatch files beside, in the repository's root.
#
# Every start goes on from the last checkpoint, so a job is the same whether it is started, requeued or submitted again. Slurm
# tells the batch shell by SIGUSR1 that the time is nearly up (--signal=B:USR1@...), and this tells the ranks; a
# preemption's SIGTERM gets to the ranks by itself. Either way they save and end with status 75, and the job queues again. It
# does so too when a rank or its host is lost, while the job has been restarted, for whatever reason, fewer than RESTARTS times (5).
set -euo pipefail
# shellcheck source=scripts/child.sh
source scripts/child.sh
trap stop_child USR1
trap : TERM # the ranks have it too: sent once more it would end them before they have saved

# A rank is gone or hangs (6), or a signal has ended ranks or srun.
lost() { [ "$1" -eq 6 ] || [ "$1" -ge 128 ]; }

# Takes options of train. Variables: PROGRAM, SRUN=srun, RESTARTS.
train_under_srun() {
    local status=0 restarts=${SLURM_RESTART_COUNT:-0}
    export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
    run_child "${SRUN:-srun}" --mpi=pmix --kill-on-bad-exit=1 "${PROGRAM:-build/train_gpt_lighthouse}" train "$@" || status=$?
    echo "job $SLURM_JOB_ID: status $status, restarted $restarts times so far"
    [ "$status" -ne 0 ] || return 0
    if [ "$status" -eq 75 ] || [ -n "$stopped" ] || { lost "$status" && [ "$restarts" -lt "${RESTARTS:-5}" ]; }; then
        scontrol requeue "$SLURM_JOB_ID"
    fi
    return "$status"
}

# The shards of folder $1 as options of train.
data_options() {
    compgen -G "$1/train_*.bin" >/dev/null || { echo "$1 has no train_*.bin: make them with pack (README, Data)" >&2; exit 2; }
    data=(--data "$1/train_*.bin")
    if compgen -G "$1/val_*.bin" >/dev/null; then data+=(--val "$1/val_*.bin"); fi
}
