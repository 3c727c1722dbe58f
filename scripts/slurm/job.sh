# shellcheck shell=bash
# What the jobs share: training under srun until it is done. Sourced by the .sbatch files beside, in the repository's root.
#
# Every start goes on from the last checkpoint, so a job is the same whether it is started, requeued or submitted again.
# - Slurm tells the batch shell by SIGUSR1 that the time is nearly up (--signal=B:USR1@...), and this tells the ranks; a
#   preemption's SIGTERM gets to the ranks by itself. Either way they save and end with status 75, and the job queues again,
#   also where Slurm itself would not do it: preempted by PreemptMode=CANCEL, and at the end of its time.
# - A job that somebody cancels saves, and stays cancelled.
# - Where a rank or its host is lost the job queues again, until there were more than RESTARTS losses in a row without a new
#   checkpoint. OUT/slurm_losses counts them.
# - With RANKS_MIN, and sbatch --no-kill, a job that has lost a host goes on with the others at once: with as many ranks, RANKS_MIN
#   at least, as the global batch can be shared by. The data come in the same order. Its next start has all hosts again.
# Variables: those of scripts/recipe.sh, SRUN=srun with options, RESTARTS=5, RANKS_MIN (none: a rank for each task).
set -euo pipefail
repository=.
# shellcheck source=scripts/child.sh
source scripts/child.sh
# shellcheck source=scripts/recipe.sh
source scripts/recipe.sh
read -ra srun <<<"${SRUN:-srun}"
restarts=${SLURM_RESTART_COUNT:-0}
queued='' # again, by this script
say() { echo "job $SLURM_JOB_ID: $*"; }

# ---- What Slurm has in mind

# runs, or what ends the job: requeued (which Slurm does itself, or a person did), preempted, timeout, cancelled. While it ends
# its JobState is COMPLETING, whatever ends it.
job_fate() {
    local job
    job=$(scontrol show job --oneliner "$SLURM_JOB_ID" 2>/dev/null) || { echo runs; return; }
    [[ $job =~ \ Restarts=([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -gt "$restarts" ] && { echo requeued; return; }
    case "$job " in
    *" JobState=RUNNING "* | *" JobState=SUSPENDED "* | *" JobState=CONFIGURING "*) echo runs ;;
    *" PreemptTime="[0-9]*) echo preempted ;;
    *" Reason=TimeLimit "*) echo timeout ;;
    *) echo cancelled ;;
    esac
}

# The controller may be away for a while.
queue_again() {
    local i
    [ -z "$queued" ] || return 0
    for ((i = 0; i < 20; i++)); do
        if scontrol requeue "$SLURM_JOB_ID"; then
            queued=1
            return
        fi
        rest 15
    done
    say "it cannot be queued again: submit it once more with the same words"
}

# Where Slurm kills the job at KillWait's end, and would leave it so, the job is queued again before the ranks have ended.
on_term() {
    case $(job_fate) in preempted | timeout) queue_again ;; esac
}
stop_on USR1
trap on_term TERM # the ranks have it too

# ---- Losses

# What a signal ends at once, which it does not a command in the foreground.
rest() { sleep "$1" & wait $! || true; }
attempt() { timeout 60 "$@" >/dev/null 2>&1 & wait $!; }

# A rank is gone or hangs (6), or the status is none of the program's: a signal has ended ranks or srun, srun has lost a host (1),
# or Open MPI 5 has ended the others of a rank that was killed (14). A program that cannot be started is no loss (126, 127).
lost() {
    case $1 in
    0 | [2-5] | 75 | 126 | 127) return 1 ;;
    esac
}

newest_checkpoint() {
    local all=("$out"/step_*)
    [ ! -e "${all[-1]}" ] || basename "${all[-1]}"
}

# Losses of this job in a row, this one too, without a new checkpoint between them: kept in OUT/slurm_losses.
count_losses() {
    local job='' count=0 checkpoint='' newest
    newest=$(newest_checkpoint)
    [ ! -f "$out/slurm_losses" ] || read -r job count checkpoint <"$out/slurm_losses" || true
    [ "$job $checkpoint" = "$SLURM_JOB_ID $newest" ] || count=0
    count=$((count + 1))
    [ ! -d "$out" ] || echo "$SLURM_JOB_ID $count $newest" >"$out/slurm_losses"
    echo "$count"
}

# A host may be gone long before Slurm sees it (SlurmdTimeout), and gives it to this job once more until then. When Slurm does
# see it, it ends the job and queues it again itself.
nodes_answer() {
    [[ $(sinfo -h -N -n "$SLURM_JOB_NODELIST" -o %T) != *\** ]] &&
        attempt "${srun[@]}" --mpi=none --overlap --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 true
}
await_nodes() {
    local waits=''
    until [ "$(job_fate)" != runs ] || [ -n "$stopped" ] || nodes_answer; do
        [ -n "$waits" ] || say "a host does not answer; it waits until the host is back, or Slurm ends the job"
        waits=1
        rest 5
    done
}

# What made a host fail may last: at once, then after 10 s, 20 s, 40 s, ...
after_loss() {
    local count
    count=$(count_losses)
    if [ "$count" -gt "${RESTARTS:-5}" ]; then
        say "$count losses in a row without a new checkpoint: it gives up (RESTARTS=${RESTARTS:-5})"
        return
    fi
    say "loss $count without a new checkpoint; it queues again"
    [ "$count" -lt 2 ] || rest $((count > 6 ? 300 : 10 << (count - 2)))
    await_nodes
    [ "$(job_fate)" != runs ] || queue_again
}

# ---- Training

# A slurmstepd that was killed leaves a socket of this job and its step's number behind, at which the same step of the next
# start would fail. Empty steps go before, so that each start has another.
pass_old_sockets() {
    local i
    for ((i = 0; i < restarts % 20; i++)); do attempt "${srun[@]}" --mpi=none --nodes=1 --ntasks=1 true || true; done
}

# ---- With fewer hosts

# Those of the job that are not down and answer, a line each.
hosts_well() { sinfo -h -N -n "$SLURM_JOB_NODELIST" -o '%N %T' | sort -u | awk '$2 !~ /[*]|down|fail/ { print $1 }'; }

# Whether a host is gone, and `hosts` are left. Where all answer it is none's loss.
host_gone() {
    local i left
    [ -n "${RANKS_MIN:-}" ] || return 1
    for ((i = 0; i < 60 && ${#stopped} == 0; i++)); do
        mapfile -t left < <(hosts_well)
        if [ ${#left[@]} -lt ${#hosts[@]} ]; then
            hosts=("${left[@]}")
            return 0
        fi
        ! nodes_answer || return 1
        rest 5
    done
    return 1
}

# The most ranks, of those that the hosts have room for, that the plan of `words` allows: a dry run says so.
most_ranks() { # ROOM
    local ranks
    for ((ranks = $1; ranks >= RANKS_MIN; ranks--)); do
        "$program" train "${words[@]}" --dry-run --ranks "$ranks" >/dev/null 2>&1 && echo "$ranks" && return
    done
    return 1
}
# Sets `where`, srun's options for the hosts.
choose_ranks() {
    local ranks room
    where=()
    [ -n "${RANKS_MIN:-}" ] || return 0
    [ ${#hosts[@]} -gt 0 ] || mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    room=$((SLURM_NTASKS * ${#hosts[@]} / SLURM_JOB_NUM_NODES))
    [[ $RANKS_MIN =~ ^[1-9][0-9]*$ ]] || refuse "RANKS_MIN='$RANKS_MIN' must be a whole number of at least 1"
    [ "$RANKS_MIN" -le "$room" ] || refuse "RANKS_MIN=$RANKS_MIN is more than the $room tasks that its hosts have room for"
    ranks=$(most_ranks "$room") || refuse "no number of ranks from RANKS_MIN=$RANKS_MIN to $room will do: see" \
        "$program train ${words[*]} --dry-run --ranks $room"
    [ "$ranks" -eq "$SLURM_NTASKS" ] || say "$ranks ranks on ${hosts[*]}"
    where=("--ntasks=$ranks" "--nodes=1-${#hosts[@]}" "--nodelist=$(IFS=,; echo "${hosts[*]}")")
}

# Takes what recipe() does.
train_under_srun() {
    local status=0 fate
    recipe "$@"
    [[ $("${srun[@]}" --mpi=list 2>&1) == *pmix* ]] ||
        refuse "srun --mpi=list has no pmix, by which ranks find each other: ask for Slurm's PMIx plugin, or start" \
            "scripts/mpirun.sh in the allocation (docs/multi-gpu.md)"
    export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
    pass_old_sockets
    hosts=()
    while :; do
        status=0
        choose_ranks
        run_child "${srun[@]}" "${where[@]}" --mpi=pmix --kill-on-bad-exit=1 "$program" train "${words[@]}" || status=$?
        say "status $status, restarted $restarts times so far"
        [ "$status" -ne 0 ] || return 0
        { lost "$status" && [ -z "$stopped" ] && host_gone && [ "$(job_fate)" = runs ]; } || break
    done
    fate=$(job_fate)
    case $fate in
    runs) if [ "$status" -eq 75 ] || [ -n "$stopped" ]; then queue_again; elif lost "$status"; then after_loss; fi ;;
    preempted | timeout) queue_again ;;
    cancelled) say "cancelled: it stays so; what is saved is gone on with when it is submitted again" ;;
    requeued) say "Slurm queues it again" ;;
    esac
    return "$status"
}
