#!/usr/bin/env bash
# scripts/run_530m.sh and scripts/slurm/*.sbatch on a small model and two ranks: stopped, killed, started again, until they say
# that all is done. srun and scontrol are stand-ins: ranks see what srun's would, PMIx and Slurm's variables alone.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=dev/test/support/shell_tests.sh
source "$root/dev/test/support/shell_tests.sh"
program=$(realpath "${BUILD:-build}")/train_gpt_lighthouse
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
ln -s "$root/scripts" scripts # jobs start in the repository's root
export PROGRAM=$program PRESET=tiny DEVICE=cpu OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_btl=self,vader
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
small=(--layers 2 --seq-len 256 --levels 2 --topk 128 --dense-layers 0 --global-batch 2 --val-every 0)

fault() { echo "$test: $*" >&2; cat console >&2; wrong=1; }
steps_of() { grep -c '"tok_per_s"' "$1/log.jsonl" 2>/dev/null || true; }
# Waits until a run that goes on beside has done some steps.
wait_for() { # RUN STEPS
    for _ in $(seq 600); do
        [ "$(steps_of "$1")" -ge "$2" ] 2>/dev/null && return 0
        sleep 0.05
    done
    fault "$1 did not come to step $2"
    return 1
}
last() { printf '%s/step_%08d/model.safetensors' "$1" "$steps"; }
same_model() { cmp -s "$(last "$1")" "$(last "$2")" || fault "$1 and $2 differ"; }

# SIGINT counts, whatever this script was started from: what a shell starts beside itself ignores it.
run_530m() {
    RANKS=2 STEPS=$steps SWITCH=$((steps * 5 / 8)) CHECKPOINT_EVERY=$((steps / 4)) KEEP=0 \
        exec env --default-signal=INT "$root/scripts/run_530m.sh" data "$1" "${small[@]}"
}

test_host() {
    (run_530m whole >console 2>&1) || fault "ended with $?"
    grep -q "all $steps updates are done" console || fault "it did not say that it is done"
    grep -q '"ranks": 2' whole/run.json || fault "not two ranks"
    grep -q '"event":"switch"' whole/log.jsonl || fault "it did not switch"
    (run_530m whole >console 2>&1) || fault "started once more after its end it gave status $?"
    local signal status job
    for signal in TERM INT USR1; do
        run_530m "stopped_$signal" >console 2>&1 &
        job=$!
        wait_for "stopped_$signal" 5 || return
        kill -$signal $job
        status=0
        wait $job || status=$?
        [ $status -eq 75 ] || fault "status $status after SIG$signal"
        [ "$(steps_of "stopped_$signal")" -lt "$steps" ] || fault "it was not stopped in its midst"
        (run_530m "stopped_$signal" >console 2>&1) || fault "gone on with, it ended with $?"
        grep -q 'resumed ' console || fault "it did not go on"
        same_model whole "stopped_$signal"
    done
}

# The script and its ranks gone at once: what was saved before is gone on with.
test_host_killed() {
    run_530m killed >console 2>&1 &
    local job=$! run=()
    wait_for killed $((steps / 4 + 2)) || return
    read -ra run <"/proc/$job/task/$job/children"
    kill -KILL $job "${run[@]}"
    wait $job 2>/dev/null
    # mpirun's ranks end with it; the folder is locked until then
    for _ in $(seq 100); do flock -n killed true && break; sleep 0.1; done
    (run_530m killed >console 2>&1) || fault "gone on with, it ended with $?"
    grep -q 'resumed killed/step_' console || fault "it did not go on"
    same_model whole killed
}

test_host_refuses() {
    local status=0
    (RANKS=2 "$root/scripts/run_530m.sh" nothing run >console 2>&1) || status=$?
    [ $status -eq 2 ] && grep -q 'nothing has no train_' console || fault "status $status"
    status=0
    (RANKS=2 "$root/scripts/run_530m.sh" data run --no-such >console 2>&1) || status=$?
    [ $status -eq 2 ] && grep -q 'unknown option --no-such' console || fault "status $status of an unknown option"
    status=0
    printf '#!/bin/sh\nexit 9\n' >"$work/nvidia-smi" && chmod +x "$work/nvidia-smi"
    (unset RANKS && PATH=$work:$PATH "$root/scripts/run_530m.sh" data run >console 2>&1) || status=$?
    rm "$work/nvidia-smi"
    [ $status -eq 2 ] && grep -q 'no GPU is to be seen' console || fault "status $status without a GPU"
    [ ! -e run ] || fault "a folder was made"
}

# A job as Slurm starts it: run_530m or million, RUN, options
job() {
    SLURM_JOB_ID=7 SLURM_NTASKS=2 SLURM_CPUS_PER_TASK=1 SRUN=$work/srun PATH=$work:$PATH STEPS=$steps SWITCH=$((steps * 5 / 8)) \
        exec "$root/scripts/slurm/$1.sbatch" data "${@:2}"
}

test_job() {
    local status job signal
    for signal in USR1 TERM; do
        : >requeued
        job run_530m "job_$signal" "${small[@]}" >console 2>&1 &
        job=$!
        wait_for "job_$signal" 5 || return
        if [ $signal = USR1 ]; then
            kill -USR1 $job # the time is nearly up: the batch shell alone is told
        else
            kill -TERM $job $(cat rank_*.pid) # a preemption: all are
        fi
        status=0
        wait $job || status=$?
        [ $status -eq 75 ] || fault "status $status after SIG$signal"
        [ "$(cat requeued)" = "requeue 7" ] || fault "not queued again: $(cat requeued)"
        (SLURM_RESTART_COUNT=1 job run_530m "job_$signal" "${small[@]}" >console 2>&1) || fault "queued again, it ended with $?"
        grep -q 'status 0, restarted 1 times' console || fault "it did not say how it ended"
        [ "$(cat requeued)" = "requeue 7" ] || fault "queued again after its end"
        grep -q '"ranks": 2' "job_$signal/run.json" || fault "ranks did not find each other"
        same_model whole "job_$signal"
    done
}

# A lost rank is worth another start, an error is not.
test_job_lost() {
    local status=0
    : >requeued
    job run_530m lost "${small[@]}" >console 2>&1 &
    local job=$!
    wait_for lost 3 || return
    kill -KILL "$(cat rank_1.pid)"
    wait $job && fault "a lost rank gave status 0"
    [ "$(cat requeued)" = "requeue 7" ] || fault "not queued again"
    : >requeued
    (job run_530m other --no-such >console 2>&1) || status=$?
    [ $status -eq 2 ] && [ ! -s requeued ] || fault "status $status, requeued: $(cat requeued)"
}

# Its settings fit each other, on as many ranks as it asks for.
test_million() {
    (SLURM_NTASKS=32 SLURM_JOB_ID=7 SRUN=$work/plan_srun PATH=$work:$PATH DEVICE=auto "$root/scripts/slurm/million.sbatch" \
        data run >console 2>&1) || fault "status $?"
    grep -q 'update      4 sequences of 1048576 tokens in 1 micro-steps of 4' console || fault "another update"
    grep -q 'ranks       32: 8 a sequence, 4 with' console || fault "other ranks"
}

test_srun_without_pmix() {
    local status=0
    SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 "$program" train --preset tiny --dry-run >console 2>&1 || status=$?
    [ $status -eq 2 ] && grep -q 'use srun --mpi=pmix' console || fault "status $status"
}

test_syntax() {
    local file
    for file in "$root"/scripts/*.sh "$root"/scripts/slurm/*; do
        bash -n "$file" 2>console || fault "$file"
    done
    command -v shellcheck >/dev/null || return 0
    (cd "$root" && shellcheck --external-sources scripts/run_530m.sh scripts/child.sh scripts/slurm/*) >console || fault shellcheck
}

cat >srun <<'STUB'
#!/usr/bin/env bash
# mpirun, whose ranks see of it only what srun would give them
[ "$1 $2" = "--mpi=pmix --kill-on-bad-exit=1" ] || { echo "srun: $*" >&2; exit 1; }
shift 2
tasks=$SLURM_NTASKS
unset "${!SLURM_@}" # or mpirun would ask Slurm for hosts
exec mpirun -np "$tasks" --bind-to none "$(dirname "$0")/task" "$@"
STUB
cat >task <<'STUB'
#!/usr/bin/env bash
export SLURM_PROCID=$OMPI_COMM_WORLD_RANK SLURM_STEP_NUM_TASKS=$OMPI_COMM_WORLD_SIZE SLURM_LOCALID=$OMPI_COMM_WORLD_LOCAL_RANK
echo $$ >"rank_$SLURM_PROCID.pid"
unset "${!OMPI_COMM_@}"
exec "$@"
STUB
cat >plan_srun <<'STUB'
#!/usr/bin/env bash
shift 2
exec "$@" --dry-run --ranks "$SLURM_NTASKS"
STUB
printf '#!/bin/sh\necho "$@" >>requeued\n' >scontrol
chmod +x srun task plan_srun scontrol

head -c 60000 /dev/urandom | base64 >text.txt
"$program" pack text.txt --out data --val-fraction 0 >/dev/null || exit 1

# 40 updates, or so many that a run takes three seconds at least: signals are to come in its midst.
steps=20
(run_530m probe >console 2>&1) || { cat console >&2; exit 1; }
steps=$(grep '"tok_per_s"' probe/log.jsonl | tail -n 10 | sed 's/.*"seconds":\([^,}]*\).*/\1/' |
    awk '{ sum += $1 } END { n = int(3 * NR / sum / 8 + 1) * 8; print (n > 40 ? n : 40) }')

run_tests test_host test_host_killed test_host_refuses test_job test_job_lost test_million test_srun_without_pmix test_syntax
