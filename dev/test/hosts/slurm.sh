#!/usr/bin/env bash
# The jobs of scripts/slurm under a real Slurm (cluster.sh): told that the time is nearly up, requeued, cancelled, preempted by
# requeue and by PreemptMode=CANCEL, with a host that crashes and comes back, and going on with fewer hosts; and the steps that people
# start by hand. What was not cancelled ends by itself with the bits of a job that was left alone. In two minutes; skipped with one
# line where there is no Slurm.
set -uo pipefail
# shellcheck disable=SC2015,SC2046,SC2086 # conditions of tests; several processes in one word
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work
# shellcheck source=dev/test/hosts/cluster.sh
source "$root/dev/test/hosts/cluster.sh"
missing=$(cluster_missing)
[ -z "$missing" ] || { echo "slurm.sh: skipped, for want of $missing (as root: scripts/setup.sh --hosts)"; exit 0; }
trap '[ $BASHPID -ne $$ ] || { cluster_stop; rm -rf "$work"; }' EXIT
cluster_start || { echo "slurm.sh: the cluster does not come up" >&2; exit 1; }
[[ $(srun --mpi=list 2>&1) == *pmix* ]] || { echo "slurm.sh: skipped, this Slurm has no PMIx"; exit 0; }

steps=80
export PROGRAM=$program PRESET=tiny DEVICE=cpu STEPS=$steps CHECKPOINT_EVERY=20 OMP_WAIT_POLICY=passive
export OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo # all hosts have one name: no shared memory between them
last=$(printf 'step_%08d/model.safetensors' $steps)

fault() { fail "$*"; [ ! -f "$job_log" ] || tail -n 25 "$job_log" >&2; }
# A job of two hosts with a rank each: submit NAME [OPTION OF sbatch...]; its number in jobs[NAME]. With holds="TILL STEP" it
# stands still behind an update, so that what is done to it comes in its midst on any machine.
declare -A jobs=()
submit() {
    # shellcheck disable=SC2086 # two words
    jobs[$1]=$(
        cd "$root" && { [ -z "${holds:-}" ] || hold "$1" $holds; } &&
            sbatch --parsable --nodes=2 --ntasks-per-node=1 --gpus-per-node=0 --cpus-per-task=1 --mem=100 \
                --output="$work/$1.log" "${@:2}" scripts/slurm/run_530m.sbatch "$work/data" "$work/$1" --layers 2 --seq-len 256 \
                --levels 2 --topk 128 --dense-layers 0 --global-batch "${batch:-2}" --val-every 0 --watchdog 300
    )
}
state() { scontrol show job "${jobs[$1]}" | grep -o 'JobState=[A-Z]*' | cut -d= -f2; }
is_in() { [[ " $2 " == *" $(state "$1") "* ]]; }                # JOB STATES
until_state() { await is_in "$@" || await is_in "$@"; }        # ten minutes: a job that is queued again waits before it runs
same_as_whole() { # JOB
    job_log=$1.log
    until_state "$1" "COMPLETED FAILED CANCELLED TIMEOUT PREEMPTED"
    [ "$(state "$1")" = COMPLETED ] || fault "$1 ended $(state "$1")"
    cmp -s "$1/$last" "whole/$last" || fault "$1 has other bits"
    [ "$1" = whole ] || grep -q resumed "$1.log" || fault "$1 did not go on"
}

# What people and the clock do.
test_ended_by_slurm() {
    local holds="signal 10" job
    job_log=cancel.log
    for job in usr1 requeue cancel; do submit $job; done
    for job in usr1 requeue cancel; do held $job; done
    scancel --signal=USR1 --batch "${jobs[usr1]}"
    scontrol requeue "${jobs[requeue]}"
    scancel "${jobs[cancel]}"
    until_state cancel CANCELLED || fault "it is $(state cancel)"
    await test -e "$work/cancel/step_00000010" || fault "it was not saved"
}
# Slurm lets a job wait that is queued again, while other tests run.
test_ended_ones_go_on() {
    same_as_whole usr1
    same_as_whole requeue
    job_log=cancel.log
    [ "$(state cancel)" = CANCELLED ] || fault "cancelled, it went on"
}
test_preempted() {
    local holds="signal 10"
    submit low; submit cancelled --partition=cancel
    held low; held cancelled
    jobs[high]=$(sbatch --parsable -p high -N $cluster_nodes --exclusive --output=/dev/null --wrap 'sleep 1')
    until_state high COMPLETED
    same_as_whole low
    same_as_whole cancelled
}
# A host is gone: its slurmd, and the ranks that JOB has there. Sets `host`.
lose_host() { # JOB
    local process
    host=$(scontrol show job "${jobs[$1]}" | sed -n 's/^ *NodeList=//p' | xargs scontrol show hostnames | tail -n 1)
    kill -KILL "${slurmd[$host]}"
    for process in $(pgrep -f "^$program train .*--out $work/$1 "); do
        ! grep -qsz "^SLURMD_NODENAME=$host$" "/proc/$process/environ" || kill -KILL "$process"
    done
}
# Slurm has not noticed yet, and would give the job the same host. When that is back, it has the socket of a slurmstepd that was
# killed: of this job, and of the step that its next start would have.
test_host_crashes() {
    local host
    job_log=crash.log
    holds="told 45" submit crash --nodelist=n5,n6
    held crash
    lose_host crash
    go_on crash
    await grep -q 'a host does not answer; it waits' crash.log || fault "it does not wait for the host"
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "spool.$host/stepd.slurm.pmix.${jobs[crash]}.0"
    node_start "$host"
}
test_crashed_host_is_back() { # tests between have passed the time that Slurm lets a job wait that is queued again
    same_as_whole crash
    [ "$(grep -c 'loss [0-9]* without a new checkpoint' crash.log)" -eq 1 ] || fault "it was lost more than once"
}
# By hand: no PMIx is told in one line, and one task may start several commands, which need no MPI.
test_steps() {
    local kind status
    job_log=console
    for kind in none pmi2; do
        [[ $(srun --mpi=list 2>&1) == *$kind* ]] || continue
        srun --mpi=$kind -n 2 --mem=100 "$program" train "${by_hand[@]}" --out alone >console 2>&1
        status=$?
        [ $status -eq 2 ] && grep -q 'srun without PMIx.*srun --mpi=pmix' console && [ ! -e alone ] || fault "--mpi=$kind: status $status"
    done
    # shellcheck disable=SC2016 # for the task's shell
    srun --mpi=pmix -n 1 --mem=100 bash -c '"$@" --stop-at 1 && "$@" --stop-at 0' - "$program" train "${by_hand[@]}" --resume auto \
        --out both >console 2>&1 || fault "two in one task: $?"
    [ -e both/step_00000002 ] || fault "it was not trained"
}
# Of three hosts one is lost, and two go on. One rank alone gives the same losses. It takes a while until Slurm has seen it, in which
# other tests run.
test_host_lost() {
    local batch=6 host
    "$program" train --data 'data/train_*.bin' --out six --steps $steps --switch-at $((steps * 10 / 16)) --preset tiny --device cpu \
        --layers 2 --seq-len 256 --levels 2 --topk 128 --dense-layers 0 --global-batch 6 --val-every 0 >console 2>&1 || fault "alone: $?"
    job_log=elastic.log
    holds="told 45" RANKS_MIN=2 submit elastic --nodes=3 --nodelist=n7,n8,n9 --no-kill # where the save of step 20 is done, and that of 40 begun
    held elastic
    lose_host elastic
    lost_host=$host
    go_on elastic
}
test_elastic() {
    job_log=elastic.log
    until_state elastic "COMPLETED FAILED CANCELLED"
    node_start "$lost_host"
    [ "$(state elastic)" = COMPLETED ] || fault "it ended $(state elastic)"
    [ "$(grep -c '"event":"resume".*"ranks":2' elastic/log.jsonl)" -eq 1 ] || fault "it did not go on with two ranks"
    grep -q 'restarted 0 times' elastic.log || fault "it was queued again"
    python3 - <<'COMPARE' || fault "other losses"
import json, sys
one, other = ([json.loads(l)["loss"] for l in open(r + "/log.jsonl") if "tok_per_s" in l] for r in ("six", "elastic"))
sys.exit(not (len(one) == len(other) and all(abs(a / b - 1) < 1e-3 for a, b in zip(one, other))))
COMPARE
    RANKS_MIN=9 submit most
    job_log=most.log
    until_state most "COMPLETED FAILED CANCELLED"
    grep -q 'RANKS_MIN=9 is more than the 2 tasks' most.log || fault "RANKS_MIN above the tasks is not refused"
}

head -c 60000 /dev/urandom | base64 >text.txt
"$program" pack text.txt --out data --val-fraction 0 >/dev/null || exit 1
test=whole job_log=whole.log wrong=0
by_hand=(--preset tiny --device cpu --layers 1 --seq-len 256 --attention dense --warmup 1 --data 'data/train_*.bin' --steps 2 --val-every 0)
submit whole
same_as_whole whole
[ $wrong -eq 0 ] || exit 1

run_tests test_host_lost test_ended_by_slurm test_steps test_host_crashes test_elastic test_ended_ones_go_on test_crashed_host_is_back \
    test_preempted
