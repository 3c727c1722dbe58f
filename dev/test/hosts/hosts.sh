#!/usr/bin/env bash
# Training on two hosts by scripts/mpirun.sh --hostfile (two_hosts.sh): undisturbed, stopped, with ranks killed and stopped, a
# cable pulled out, a bridge of one address on both, and a folder of each host's own. What was disturbed is started again with
# the same words, and ends with status 0 and the bits of a run that was not. In some minutes; skipped with one line where a host
# cannot be made.
# shellcheck disable=SC2015,SC2086,SC2317 # conditions of tests; several processes in one word; functions that disturb() is given
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work
# shellcheck source=dev/test/hosts/two_hosts.sh
source "$root/dev/test/hosts/two_hosts.sh"
missing=$(hosts_missing)
[ -z "$missing" ] || { echo "hosts.sh: skipped, for want of $missing (as root: scripts/setup.sh --hosts)"; exit 0; }
trap '[ $BASHPID -ne $$ ] || { hosts_stop; rm -rf "$work"; }' EXIT
hosts_start || { echo "hosts.sh: the two hosts do not come up" >&2; exit 1; }

export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
export OMPI_MCA_plm_rsh_args="-F $work/ssh_config" PRTE_MCA_plm_ssh_args="-F $work/ssh_config"
# ssh hands no variables on: those that choose the arithmetic have to be named, or two kinds of hosts give two roundings. Open MPI 5
# starts nothing where one of them is not set.
export OMPI_MCA_mca_base_env_list=OMP_NUM_THREADS
for name in OPENBLAS_CORETYPE OPENBLAS_L2_SIZE; do
    [ -z "${!name:-}" ] || OMPI_MCA_mca_base_env_list+=";$name"
done
model=(--preset tiny --device cpu --layers 1 --seq-len 512 --levels 2 --topk 256 --dense-layers none --warmup 4 --global-batch 4 --val-every 0
    --data "$work/data/train_*.bin")
watchdog=300 # seconds; tests of what waits for it have a shorter one
steps=16

mpi_version=$(mpirun --version)
is_mpi5() { [[ $mpi_version == *"(Open MPI) 5."* ]]; }
fault() { fail "$*"; tail -n 15 console >&2; }
train() { # RUN [OPTION...]: on four ranks of two hosts
    on alpha "$root/scripts/mpirun.sh" --hostfile hosts -np 4 "$program" train "${model[@]}" --watchdog $watchdog --resume auto --out "$@"
}
alone() { "$program" train "${model[@]}" --resume auto --out "$@"; }
long() { train "$1" --steps "$steps" --switch-at $((steps / 2)) --checkpoint-every $((steps / 4)) --stop-at "${2:-0}"; } # RUN [UPDATE]
ranks_of() { pgrep -f "^$program train .*--out $1( |\$)"; }
on_beta() { # PROCESS...: those of them that are beta's
    local process
    for process in "$@"; do
        [ "$(readlink "/proc/$process/ns/uts")" != "$(readlink "/proc/${host_init[beta]}/ns/uts")" ] || echo "$process"
    done
}
close_losses() { # RUN RUN: equal but for rounding
    python3 - "$1" "$2" <<'COMPARE'
import json, sys
a, b = ([json.loads(l)["loss"] for l in open(r + "/log.jsonl") if "tok_per_s" in l] for r in sys.argv[1:])
sys.exit(not (len(a) == len(b) > 0 and all(abs(x / y - 1) < 1e-6 for x, y in zip(a, b))))
COMPARE
}
same_model() { cmp -s "$1/$last" "whole/$last"; }

over() { ! kill -0 "$1" 2>/dev/null; }
# A run that is gone on with after half its updates, and whose first rank stands still behind one more, when none saves (then ranks
# would wait for each other for long). Then COMMAND is done, which knows the processes of script, mpirun, ranks, and `theirs` of beta, and the rank goes on. `status` tells
# how the run ends, 124 where it does not.
disturb() { # RUN told|signal COMMAND
    local job
    long "$1" $((steps / 2)) >console 2>&1 || fault "up to its midst: $?"
    (hold "$1" "$2" $((steps / 2 + 1)); long "$1") >console 2>&1 &
    job=$!
    held "$1"
    ranks=$(ranks_of "$1") script=$(pgrep -f "^bash .*/mpirun.sh .*--out $1 ") mpirun=$(pgrep -f "^mpirun .*--out $1 ")
    theirs=$(on_beta $ranks)
    [ "$(wc -w <<<"$theirs")" -eq 2 ] || fault "beta has not two ranks"
    status=124
    "$3"
    [ "$2" = signal ] || go_on "$1"
    await over $job || { kill -KILL $ranks $mpirun $script; wait $job; return; }
    wait $job
    status=$?
} 2>/dev/null
no_ranks() { [ -z "$(ranks_of "$1")" ]; }
# What is left of it is gone soon, and it goes on to the bits of an undisturbed run.
goes_on() { # RUN
    await no_ranks "$1" || fault "ranks are left behind"
    long "$1" >console 2>&1 || fault "gone on with, it ended with $?"
    grep -q "resumed $1/step_" console || fault "it did not go on"
    same_model "$1" || fault "other bits"
}

test_together() {
    local p
    alone one --steps 12 --switch-at 8 >console 2>&1 || fault "alone: $?"
    for p in 1 2; do
        train "cp$p" --cp $p --steps 12 --switch-at 8 >console 2>&1 || fault "--cp $p: $?"
        close_losses one "cp$p" || fault "--cp $p: other losses"
    done
}
test_other_ranks_go_on() {
    {
        train legs --steps 12 --switch-at 8 --stop-at 5 && train legs --cp 2 --stop-at 9 --steps 12 --switch-at 8 &&
            alone legs --cp 1 --stop-at 0 --steps 12 --switch-at 8
    } >console 2>&1 || fault "status $?"
    close_losses one legs || fault "other losses"
}
test_stopped() {
    tell() { kill -TERM $script; }
    disturb stopped signal tell
    [ $status -eq 75 ] && grep -q 'which is saved' console || fault "status $status"
    goes_on stopped
}
test_rank_dies() {
    kill_one() { kill -KILL "$(tail -n 1 <<<"$theirs")"; }
    disturb dies told kill_one
    [ $status -ne 124 ] && [ $status -ne 0 ] && grep -q 'on beta .*died' console || fault "status $status"
    goes_on dies
}
# Of two hosts of one name, neither takes the other's ranks for dead, whose numbers it does not have; that one of its own died is
# noticed. (A shim gives both process tables one number, as tables of real hosts have, and tells how often a rank has looked.)
looked() { [ "$(cat looks.2* | wc -c)" -ge 16 ] || ! no_death; } # a rank that lives looks at two of beta, five times a second
no_death() { ! grep -q ' died' console; }
test_one_name() {
    local hold_shim="$hold_shim ${hold_shim%/*}/same_host_shim.so"
    local -x LD_PRELOAD=${hold_shim#* } LOOK_FILE=$work/looks OMPI_MCA_mca_base_env_list="$OMPI_MCA_mca_base_env_list;LD_PRELOAD;LOOK_FILE"
    hosts_alike clone || fault "the hosts are not alike"
    kill_after_looks() {
        rm -f looks.* # of what is over
        await looked || fault "no rank looks"
        no_death || fault "a rank of the other host is said to have died"
        kill -KILL "$(tail -n 1 <<<"$theirs")"
    }
    disturb clones told kill_after_looks
    [ $status -ne 124 ] && [ $status -ne 0 ] && grep -q 'on clone .*died' console || fault "status $status"
    goes_on clones
    hosts_unlike
}
test_rank_hangs() {
    local watchdog=15
    stop_theirs() { kill -STOP $theirs; }
    disturb hangs told stop_theirs
    [ $status -eq 6 ] && grep -q 'on beta and 1 more hangs' console || fault "status $status"
    goes_on hangs
}
no_daemon() { [ -z "$(on_beta $(pgrep -x 'orted|prted'))" ]; }
# mpirun sees it before the ranks' watchdog, and ends; the daemon on beta too.
test_cable() {
    local watchdog=19 # below 20 mpirun looks every second
    pull() { ip -n "$(host_of beta)" link set eth0 down; }
    disturb cable told pull
    [ $status -ne 124 ] && [ $status -ne 0 ] || fault "status $status"
    await no_daemon || fault "a daemon is left behind"
    ip -n "$(host_of beta)" link set eth0 up
    goes_on cable
}
# Open MPI 4 waits without end, and the program's own guard ends it; 5 refuses, with the address that both have.
test_bridge() {
    local began=$SECONDS watchdog=5 # no rank is to come through
    hosts_bridge up
    train bridge --steps 2 >console 2>&1
    status=$?
    [ $((SECONDS - began)) -lt 120 ] || fault "it took $((SECONDS - began)) s"
    if is_mpi5; then
        [ $status -ne 0 ] && grep -q 'connect() to 172.17.0.1:.* failed' console || fault "status $status"
    else
        [ $status -eq 6 ] || fault "status $status"
        [ "$(grep -c 'btl_tcp_if_exclude lo,docker0' console)" -eq 1 ] || fault "it does not say what to do, once"
    fi
    [ ! -e bridge ] || fault "a folder was made"
    on alpha "$root/scripts/mpirun.sh" --mca btl_tcp_if_exclude lo,docker0 --hostfile hosts -np 4 "$program" train "${model[@]}" \
        --watchdog 300 --out bridge --steps 2 >console 2>&1 || fault "without it: $?"
    hosts_bridge down
}
# Each link is measured, of three ranks on alpha and one on beta; the cable's is told to be slow, and a variable that ssh does
# not hand on to be missing on beta.
test_links() {
    local group
    NCCL_IB_HCA=mlx5_0 on alpha "$root/scripts/mpirun.sh" --host alpha:3,beta:1 -np 4 "$program" info --links --device cpu \
        >links.jsonl 2>console || fault "status $?"
    for group in "3:ranks of a host" "2:hosts, a rank of each" "4:all ranks"; do
        [ "$(grep "\"among\": \"${group#*:}\"" links.jsonl |
            grep -c "\"hosts\": 2, \"ranks_per_host\": 3, \"ranks\": ${group%%:*}, ")" -ge 2 ] || fault "no rows of $group"
    done
    [ "$(grep -c 'warning: the link between hosts is slow, slowest for rank 0 of each host: all-' console)" -eq 2 ] || fault "it does not say what is slow"
    ! grep -q 'the link within a host' console || fault "memory is said to be slow"
    grep -q 'warning: rank 3 on beta has other NCCL_' console || fault "it does not tell what beta lacks"
    "$program" train --dry-run --preset 530m --ranks 4 --ranks-per-host 2 --global-batch 4 --links links.jsonl >console ||
        fault "the plan: $?"
    grep -q 'links between hosts are measured, those within a host measured' console || fault "the plan does not say so"
}
# A folder that each host has for itself is told at the start, and nothing stays behind in it.
test_unshared() {
    mkdir -p local
    on beta mount -t tmpfs tmpfs "$PWD/local"
    train local/run --steps 2 >console 2>&1
    status=$?
    [ $status -eq 3 ] && grep -q 'on beta: .*rank 0 on alpha .*all hosts share' console || fault "status $status"
    [ "$(grep -c 'all hosts share' console)" -eq 1 ] || fault "it is not said once"
    [ -z "$(ls -A local)" ] || fault "it left $(ls -A local)"
    on beta umount "$PWD/local"
    train local/run --steps 2 >console 2>&1 || fault "shared: $?"
    [ -z "$(compgen -G 'local/run/.shared*')" ] || fault "the probe is left behind"
}

head -c 60000 /dev/urandom | base64 >text.txt
"$program" pack text.txt --out data --val-fraction 0 >/dev/null || exit 1
last=$(printf 'step_%08d/model.safetensors' "$steps")
long whole >console 2>&1 || { cat console >&2; exit 1; }

run_tests test_together test_other_ranks_go_on test_stopped test_rank_dies test_one_name test_rank_hangs test_cable test_bridge test_links test_unshared
