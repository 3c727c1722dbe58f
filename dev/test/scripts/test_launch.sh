#!/usr/bin/env bash
# scripts/run_530m.sh and scripts/slurm/*.sbatch on a small model and two ranks: stopped, killed, started again, until they say
# that all is done. srun and scontrol are stand-ins: ranks see what srun's would, PMIx and Slurm's variables alone.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work
ln -s "$root/scripts" scripts # jobs start in the repository's root
export PROGRAM=$program PRESET=tiny DEVICE=cpu OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0
export MPIRUN=$root/dev/test/support/mpirun.sh
shape=(--layers 2 --seq-len 256 --levels 2 --topk 128 --dense-layers 0 --watchdog 600) # ranks wait for one that stands still
steps=16
small=("${shape[@]}" --global-batch 2 --val-every 0)

fault() { echo "$test: $*" >&2; cat console >&2; wrong=1; }
steps_of() { grep -c '"tok_per_s"' "$1/log.jsonl" 2>/dev/null || true; }
has_steps() { [ "$(steps_of "$1")" -ge "$2" ] 2>/dev/null; }
# Waits until a run that goes on beside has done some steps.
wait_for() { # RUN STEPS
    await has_steps "$1" "$2" || { fault "$1 did not come to step $2"; return 1; }
}
ended() { await flock -n "$1" true || fault "its ranks are still there"; } # RUN
last() { printf '%s/step_%08d/model.safetensors' "$1" "$steps"; }
same_model() { cmp -s "$(last "$1")" "$(last "$2")" || fault "$1 and $2 differ"; }

# SIGINT counts, whatever this script was started from: what a shell starts beside itself ignores it.
run_530m() {
    RANKS=2 STEPS=$steps SWITCH=$((steps * 5 / 8)) CHECKPOINT_EVERY=$((steps / 4)) KEEP=0 \
        exec env --default-signal=INT,HUP "$root/scripts/run_530m.sh" data "$1" "${small[@]}"
}

test_host() {
    (run_530m whole >console 2>&1) || fault "ended with $?"
    grep -q "all $steps updates are done" console || fault "it did not say that it is done"
    grep -q '"ranks": 2' whole/run.json || fault "not two ranks"
    grep -q '"event":"switch"' whole/log.jsonl || fault "it did not switch"
    (run_530m whole >console 2>&1) || fault "started once more after its end it gave status $?"
    local signal status job
    for signal in TERM INT USR1 HUP; do
        (hold "stopped_$signal" signal 5; run_530m "stopped_$signal") >console 2>&1 &
        job=$!
        held "stopped_$signal" || return
        kill -$signal $job
        status=0
        wait $job || status=$?
        [ $status -eq 75 ] || fault "status $status after SIG$signal"
        [ "$(steps_of "stopped_$signal")" -eq 5 ] || fault "it was not stopped in its midst"
        (run_530m "stopped_$signal" >console 2>&1) || fault "gone on with, it ended with $?"
        grep -q 'resumed ' console || fault "it did not go on"
        same_model whole "stopped_$signal"
    done
}

# Ranks started by hand: what would make mpirun kill them saves them.
mpirun_train() { # RUN STEPS BATCH [OPTION...]
    OVERSUBSCRIBE=1 exec env --default-signal=INT,HUP,QUIT "$root/scripts/mpirun.sh" -np 2 "$program" train --preset tiny --device cpu \
        --data 'data/train_*.bin' --out "$1" --resume auto --steps "$2" "${shape[@]}" --global-batch "$3" "${@:4}"
}
test_mpirun() {
    local signal status job
    for signal in TERM HUP INT USR2 XCPU; do
        mpirun_train "hand_$signal" 100000 2 >console 2>&1 &
        job=$!
        wait_for "hand_$signal" 3 || return
        kill -$signal $job
        status=0
        wait $job || status=$?
        [ $status -eq 75 ] && grep -q 'which is saved; go on with --resume' console || fault "status $status after SIG$signal"
    done
    mpirun_train hand_quit 100000 2 >console 2>&1 & # Ctrl-\ ends all at once
    job=$!
    wait_for hand_quit 3 || return
    kill -QUIT $job
    status=0
    wait $job || status=$?
    [ $status -eq 131 ] || fault "status $status after SIGQUIT"
    ended hand_quit
    compgen -G 'hand_quit/step_*' && fault "it was saved"
    (mpirun_train hand_other 8 2 --no-such >console 2>&1)
    status=$?
    [ $status -eq 2 ] || fault "status $status of an unknown option"
}

# Standard input goes to a program that is told to read it, and to no other.
test_mpirun_input() {
    "$root/scripts/mpirun.sh" -np 1 "$program" pack - --out piped --val-fraction 0 <text.txt >console 2>&1 || fault "status $?"
    "$program" pack text.txt --out named --val-fraction 0 >/dev/null
    cmp piped/train_00000.bin named/train_00000.bin || fault "other text"
    printf 'a\nb\n' | { "$root/scripts/mpirun.sh" -np 1 "$program" info >console 2>&1; cat >rest; }
    [ "$(paste -sd ' ' rest)" = "a b" ] || fault "it has taken the lines of a loop around it"
}

# Ctrl-C twice is for those who will not wait, here for a rank that stands still and does not save.
test_mpirun_twice() {
    local status=0 job started
    (hold hurried told 3; mpirun_train hurried 100000 2) >console 2>&1 &
    job=$!
    held hurried || return
    started=$SECONDS
    kill -INT $job
    heeds hurried
    kill -INT $job
    wait $job || status=$?
    [ $status -ne 0 ] && [ $status -ne 75 ] && [ $((SECONDS - started)) -lt 120 ] || fault "status $status"
    compgen -G 'hurried/step_*' && fault "it was saved"
    ended hurried
}

# Hosts may have other shards, or another model, under the same names: no rank computes with what the first one does not have.
on_two_hosts() { # WORDS...
    "$root/dev/test/support/mpirun.sh" -np 1 -wdir "$work/host_a" "$program" "$@" : -np 1 -wdir "$work/host_b" "$program" "$@" >console 2>&1
}
refuses_hosts() { # WHAT WORDS...
    local status=0
    on_two_hosts "${@:2}" || status=$?
    [ $status -eq 2 ] && grep -q "error: $1 of rank 1 on .* differs from that of rank 0" console || fault "status $status of $2"
}
test_hosts_differ() {
    local host train
    for host in a b; do
        mkdir "host_$host"
        "$program" "${smallest_train[@]}" --steps 1 --out "host_$host/run" --seed "$([ $host = a ] && echo 1 || echo 2)" >console 2>&1 || fault "no run"
        "$program" export --model "host_$host/run" --out "host_$host/model" >console
        head -c 3000 "$work/text.txt" | tr "a$host" "${host}a" | "$program" pack - --out "host_$host/data" --val-fraction 0 >console || fault "no shard"
    done
    train=(train --data "$work/data/train_*.bin" --seq-len 64 --attention dense --global-batch 2 --steps 1 --warmup 1 --device cpu --out "$work/mixed")
    refuses_hosts --data eval --model "$work/host_a/run" --data 'data/train_*.bin'
    refuses_hosts "the model in model" eval --model model --data "$work/data/train_*.bin" --val-batches 2
    refuses_hosts "the model in model" "${train[@]}" --init model
    [ ! -e mixed ] || fault "a run is left"
    rm -r host_b && cp -r host_a host_b
    on_two_hosts eval --model model --data 'data/train_*.bin' || fault "hosts that are alike are refused"
}

# mpirun sees a lost host before the ranks' watchdog, in the words of both versions, unless somebody has set that himself.
keeps() { # WANTED WORDS...
    local kept
    kept=$(
        source "$root/scripts/launcher.sh"
        set_keep_alive "${@:2}"
        for mpi in OMPI PRTE; do
            for name in time intvl probes; do printf '%s ' "$(printenv "${mpi}_MCA_oob_tcp_keepalive_$name")"; done
        done
    )
    [ "$kept" = "$1 " ] || fault "${*:2}: $kept"
}
test_keep_alive() {
    keeps "5 2 3 5 2 3" -np 2 program train
    keeps "5 2 3 5 2 3" -np 2 program train --watchdog 20
    keeps "1 1 2 1 1 2" -np 2 program train --watchdog 19 --resume run
    keeps "1 1 2 1 1 2" -np 2 program train --watchdog=12
    OMPI_MCA_oob_tcp_keepalive_time=60 keeps "60     " -np 2 program train
}

# mpirun of Open MPI 5 gives status 0 where a host is lost, and says so; a daemon may hold its standard error open behind it.
test_host_lost() {
    local said status
    mkdir -p five
    cat >five/mpirun <<'STUB'
#!/bin/sh
[ "$1" != --version ] || { echo "mpirun (Open MPI) 5.0.7"; exit; }
sleep 1000 &
echo $! >daemon
printf 'one\n two\\\n%s\nlast' "$SAID" >&2
exit "$ENDS"
STUB
    chmod +x five/mpirun
    for status in 0 6 3; do
        said='PRTE has lost communication with a remote daemon.'
        [ $status -ne 0 ] || said='all is well'
        SAID=$said ENDS=$((status % 6)) PATH=$work/five:$PATH "$root/scripts/mpirun.sh" -np 2 "$program" info 2>console
        [ $? -eq $status ] || fault "other status than $status"
        [ "$(cat console)" = "$(printf 'one\n two\\\n%s\nlast' "$said")" ] || fault "other lines"
        kill "$(cat daemon)"
    done
}

# The script and its ranks gone at once: what was saved before is gone on with.
test_host_killed() {
    (hold killed told $((steps / 2 + 1)); run_530m killed) >console 2>&1 & # the second save has waited for the first
    local job=$! run=()
    held killed || return
    read -ra run <"/proc/$job/task/$job/children"
    kill -KILL $job "${run[@]}"
    wait $job 2>/dev/null
    go_on killed
    ended killed # mpirun's ranks end with it
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

# A folder's name is no pattern, and all is done where the last checkpoint says so.
test_host_ends() {
    local option
    cp -r data 'data [1]'
    for option in "--dry-run" "--stop-at 1"; do
        read -ra option <<<"$option"
        (RANKS=1 STEPS=$steps "$root/scripts/run_530m.sh" 'data [1]' 'run [1]' "${small[@]}" "${option[@]}" >console 2>&1) || fault "status $?"
        grep -q 'run_530m: ended as its options say' console || fault "it says that all is done"
    done
    (RANKS=1 STEPS=$steps "$root/scripts/run_530m.sh" 'data [1]' 'run [1]' "${small[@]}" >console 2>&1) || fault "status $?"
    grep -q 'run_530m: all .* updates are done; the model is run .1./step_' console || fault "it does not say that all is done"
    rm -r 'data [1]' 'run [1]'
}

# A job as Slurm starts it: run_530m or million, RUN, options
job() {
    SLURM_JOB_ID=7 SLURM_NTASKS=2 SLURM_CPUS_PER_TASK=1 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=n1 SRUN=$work/srun PATH=$work:$PATH STEPS=$steps SWITCH=$((steps * 5 / 8)) \
        exec "$root/scripts/slurm/$1.sbatch" data "${@:2}"
}

test_job() {
    local status job signal
    for signal in USR1 TERM; do
        : >requeued
        (hold "job_$signal" signal 5; job run_530m "job_$signal" "${small[@]}") >console 2>&1 &
        job=$!
        held "job_$signal" || return
        if [ $signal = USR1 ]; then
            kill -USR1 $job # the time is nearly up: the batch shell alone is told
        else
            # shellcheck disable=SC2046 # several
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
    (hold lost told 3; job run_530m lost "${small[@]}") >console 2>&1 &
    local job=$!
    held lost || return
    kill -KILL "$(cat rank_1.pid)"
    go_on lost
    wait $job && fault "a lost rank gave status 0"
    [ "$(cat requeued)" = "requeue 7" ] || fault "not queued again"
    : >requeued
    (job run_530m other --no-such >console 2>&1) || status=$?
    [ $status -eq 2 ] && [ ! -s requeued ] || fault "status $status, requeued: $(cat requeued)"
}

# What Slurm has in mind for a job that saved at SIGTERM tells whether it queues again; PROGRAM ends as it is told.
ended_job() { # STATUS RESTARTS FATE
    : >requeued
    echo "JobId=7 $3" >job_state
    (SLURM_JOB_ID=7 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=n1 SLURM_RESTART_COUNT=$2 PROGRAM=$work/ends ENDS=$1 \
        SRUN=$work/srun PATH=$work/quick:$work:$PATH "$root/scripts/slurm/run_530m.sbatch" data ended >console 2>&1)
    [ $? -eq "$1" ] || fault "another status than $1"
    echo "$running" >job_state
}
queues() { [ -s requeued ] || fault "$*: not queued again"; }
stays() { [ ! -s requeued ] || fault "$*: queued again"; }
test_job_fates() {
    local status
    ended_job 75 0 'JobState=COMPLETING Reason=None Restarts=0 PreemptTime=None'; stays cancelled
    grep -q 'cancelled: it stays so' console || fault "it says nothing of it"
    ended_job 75 0 'JobState=CANCELLED Reason=None Restarts=0 PreemptTime=None'; stays cancelled
    ended_job 137 0 'JobState=COMPLETING Reason=None Restarts=0 PreemptTime=None'; stays cancelled
    ended_job 75 0 'JobState=COMPLETING Reason=None Restarts=0 PreemptTime=2026-11-26T11:13:29'; queues preempted
    ended_job 75 0 'JobState=COMPLETING Reason=TimeLimit Restarts=0 PreemptTime=None'; queues "at its time limit"
    ended_job 75 2 'JobState=COMPLETING Reason=None Restarts=3 SuspendTime=None'; stays "requeued by Slurm"
    ended_job 75 2 'JobState=COMPLETING Reason=job_requeued_in_held_state Restarts=3'; stays "held by a person"
    for status in 3 127; do ended_job $status 0 "$running"; stays "an error, status $status"; done
}
# Losses count in a row, without a new checkpoint between them; time limits do not.
test_job_losses() {
    local i status
    mkdir -p ended/step_00000010
    for status in 6 1 14 137; do
        rm -f ended/slurm_losses pauses
        for i in 1 2; do RESTARTS=2 ended_job $status 90 "$running"; queues "loss $i, status $status"; done
        RESTARTS=2 ended_job 75 90 "$running"; queues "the time limit"
        [ "$(cat pauses)" = 10 ] || fault "pauses of $(cat pauses) s"
        RESTARTS=2 ended_job $status 90 "$running"; stays "loss 3"
        grep -q '3 losses in a row without a new checkpoint' console || fault "it says nothing of it"
    done
    mkdir ended/step_00000020
    RESTARTS=2 ended_job 6 90 "$running"; queues "a loss after a checkpoint"
    rm -r ended
}
# Options of train take the place of the recipe's, for every launcher.
test_settings() {
    (RANKS=1 "$root/scripts/run_530m.sh" data none --dry-run --steps 50 --keep=7 "${small[@]}" >console 2>&1) || fault "status $?"
    (CHECKPOINT_EVERY=9 SLURM_NTASKS=1 SLURM_JOB_ID=7 PROGRAM=$work/ends ENDS=0 SRUN=$work/srun PATH=$work:$PATH \
        "$root/scripts/slurm/run_530m.sbatch" data none --keep=7 --steps 50 >console 2>&1) || fault "status $?"
    grep -q -e '--switch-at 31 .*--checkpoint-every 9 --keep=7 --steps 50$' console || fault "other words"
    [ "$(grep -o -e '--keep\|--steps' console | sort | uniq -d)" = '' ] || fault "given twice"
}
test_other_folder() {
    local status=0
    mkdir -p other
    (cd other && SLURM_JOB_ID=7 "$root/scripts/slurm/million.sbatch" data run >../console 2>&1) || status=$?
    [ $status -eq 2 ] && [ "$(wc -l <console)" -eq 1 ] && grep -q "is not the repository's root: cd there" console || fault "status $status"
}

# Its settings fit each other, on as many ranks as it asks for.
test_million() {
    (SLURM_NTASKS=32 SLURM_JOB_ID=7 SRUN="$work/plan_srun --words" PATH=$work:$PATH PRESET=530m DEVICE=auto "$root/scripts/slurm/million.sbatch" \
        data run >console 2>&1) || fault "status $?"
    grep -q 'update      4 sequences of 1048576 tokens in 1 micro-steps of 4' console || fault "another update"
    grep -q 'ranks       32: 8 a sequence, 4 with' console || fault "other ranks"
}

# Launchers under which each process would be alone: one line, and no run.
refused_under() { # WORDS VARIABLE=VALUE...
    local status=0
    env "${@:2}" "$program" train --preset tiny --device cpu --data 'data/train_*.bin' --out alone --steps 1 >console 2>&1 || status=$?
    [ $status -eq 2 ] && [ "$(wc -l <console)" -eq 1 ] && grep -q "$1" console && [ ! -e alone ] || fault "${*:2}: status $status"
}
test_foreign_launchers() {
    refused_under 'srun without PMIx.*srun --mpi=pmix' SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2
    refused_under 'srun without PMIx' SLURM_PROCID=1 SLURM_NTASKS=2
    refused_under 'srun without PMIx' SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 PMI_RANK=0 PMI_SIZE=2
    refused_under "MPICH's or Intel MPI's kind started this program 4 times" PMI_RANK=0 PMI_SIZE=4
    refused_under "MPICH's or Intel MPI's kind" PMI_RANK=3 PMI_SIZE=4
    refused_under MVAPICH MV2_COMM_WORLD_RANK=1 MV2_COMM_WORLD_SIZE=2
    refused_under torchrun TORCHELASTIC_RUN_ID=none WORLD_SIZE=2 RANK=1
    refused_under "PyTorch's kind (DeepSpeed's, accelerate's) started this program 8 times.*alone: unset WORLD_SIZE" \
        RANK=0 LOCAL_RANK=0 WORLD_SIZE=8 MASTER_ADDR=localhost
    refused_under "PyTorch's kind" RANK=9 LOCAL_RANK=1 WORLD_SIZE=16 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1
    refused_under "PyTorch's kind" RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 PMIX_RANK=0
    refused_under "sets RANK and WORLD_SIZE" RANK=1 WORLD_SIZE=2 MASTER_ADDR=node0
}

# One task needs no MPI, which could begin only once in it; nor do commands of no ranks. These name a server that is not there.
test_one_task() {
    local task
    for task in "OMPI_COMM_WORLD_SIZE=1" "PMIX_RANK=0 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1" "PMI_RANK=0 PMI_SIZE=1" \
        "SLURM_PROCID=0 SLURM_NTASKS=8" "WORLD_SIZE=2" "RANK=0 LOCAL_RANK=0 WORLD_SIZE=1" "RANK=0 WORLD_SIZE=8 SLURM_PROCID=0" \
        "RANK=0 LOCAL_RANK=0 WORLD_SIZE=8 OMPI_COMM_WORLD_SIZE=1" "PMIX_RANK=0 RANK=0 WORLD_SIZE=8 SLURM_PROCID=0"; do
        # shellcheck disable=SC2086
        env PMIX_NAMESPACE=none PMIX_SERVER_URI2=none $task "$program" train --preset tiny --dry-run >console 2>&1 || fault "$task"
        grep -q 'ranks       1' console || fault "$task: not one rank"
    done
    env PMIX_NAMESPACE=none PMIX_RANK=0 "$program" info >console 2>&1 || fault "info under PMIx"
    local status=0
    (OVERSUBSCRIBE=1 "$root/scripts/mpirun.sh" -np 2 "$program" info >console 2>&1) || status=$?
    [ $status -eq 2 ] && [ "$(grep -c 'only train, eval, niah' console)" -eq 1 ] || fault "info on two ranks: $status"
}

# The least limit of address space, in kB, under which the program is loaded: its libraries differ from build to build.
least_room() {
    local low=0 high=8000000 middle
    while [ $((high - low)) -gt 5000 ]; do
        middle=$(((low + high) / 2))
        if (ulimit -v $middle && timeout 20 "$program" --help >/dev/null) 2>/dev/null; then high=$middle; else low=$middle; fi
    done
    echo $high
}
# Where a limit leaves OpenBLAS no room for its buffers it would try for ever.
test_no_room() {
    [[ ${BUILD:-build} != *san* ]] || return 0 # a sanitizer's own memory goes beyond any limit
    local status=0 room
    export OPENBLAS_NUM_THREADS=1
    room=$(($(least_room) + 60000))
    (ulimit -v $room && timeout 60 "$program" train --preset tiny --device cpu --data 'data/train_*.bin' --out full \
        --steps 1 "${small[@]}" >console 2>&1) || status=$?
    [ $status -eq 4 ] && grep -q 'OpenBLAS maps 128 MB for each of 1 threads, and there is room for 0' console || fault "status $status"
    [ ! -e full ] || fault "a folder was made"
    status=0
    (ulimit -v $room && OPENBLAS_NUM_THREADS=2 timeout 20 "$program" --help >console 2>&1) || status=$?
    # OpenBLAS 0.3.29 tries for ever before the program begins, 0.3.21 when it has ended.
    [ $status -eq 0 ] || [ ! -s console ] || fault "it does not end: status $status"
    unset OPENBLAS_NUM_THREADS
}

test_syntax() {
    local file
    for file in "$root"/scripts/*.sh "$root"/scripts/slurm/*; do
        bash -n "$file" 2>console || fault "$file"
    done
    command -v shellcheck >/dev/null || return 0
    (cd "$root" && shellcheck --external-sources scripts/run_530m.sh scripts/{mpirun,child,recipe}.sh scripts/slurm/*) >console || fault shellcheck
}

cat >srun <<'STUB'
#!/usr/bin/env bash
# mpirun, whose ranks see of it only what srun would give them
case "$*" in
--mpi=list) echo pmix; exit ;;
--mpi=none*" true") exit ;; # an empty step
esac
[ "$1 $2" = "--mpi=pmix --kill-on-bad-exit=1" ] || { echo "srun: $*" >&2; exit 1; }
shift 2
tasks=$SLURM_NTASKS
unset "${!SLURM_@}" # or mpirun would ask Slurm for hosts
[ "${PROGRAM##*/}" != ends ] || exec "$@"
exec "$MPIRUN" -np "$tasks" "$(dirname "$0")/task" "$@"
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
[ "$1" = --words ] || exit 9 # SRUN may have options
shift
[ "$*" != "--mpi=list" ] || { echo pmix; exit; }
shift 2
exec "$@" --dry-run --ranks "$SLURM_NTASKS"
STUB
cat >scontrol <<'STUB'
#!/bin/sh
[ "$1" != show ] || { cat job_state; exit; }
echo "$@" >>requeued
STUB
printf '#!/bin/sh\necho idle\n' >sinfo
printf '#!/bin/sh\necho "$@"\nexit $ENDS\n' >ends
mkdir quick && printf '#!/bin/sh\necho "$@" >>pauses\n' >quick/sleep # at once
chmod +x quick/sleep ends srun task plan_srun scontrol sinfo
running='JobId=7 JobState=RUNNING Reason=None Requeue=1 Restarts=0 PreemptTime=None'
echo "$running" >job_state

head -c 60000 /dev/urandom | base64 >text.txt
"$program" pack text.txt --out data --val-fraction 0 >/dev/null || exit 1

run_tests test_host test_mpirun test_mpirun_input test_mpirun_twice test_hosts_differ test_keep_alive test_host_lost test_host_killed test_host_refuses test_host_ends test_job test_job_lost test_job_fates test_job_losses test_settings test_other_folder test_million test_foreign_launchers test_one_task test_no_room test_syntax
