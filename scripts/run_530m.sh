#!/usr/bin/env bash
# The paper's recipe on one host, on all its GPUs: 10,000 updates under Lighthouse attention, 6,000 under dense, 32 sequences of
# 98,304 tokens each, from shards that `pack` wrote.
#
#   run_530m.sh DATA OUT [OPTIONS OF train]      DATA: folder with train_*.bin, and val_*.bin if there is to be a validation
#
# Started again with the same words it goes on from the last checkpoint in OUT, after whatever ended it; when all is done it
# says so and ends with status 0. SIGTERM, SIGINT and SIGUSR1 save first (status 75: start it again). Else the status is the
# program's. Variables: STEPS=16000, SWITCH (10/16 of STEPS; 12000 for the paper's longest first stage), RANKS (the GPUs
# there are), CHECKPOINT_EVERY=250 (a checkpoint has 6.4 GB), KEEP=4, PRESET=530m, DEVICE=cuda, PROGRAM, MPIRUN=mpirun.
set -euo pipefail
# shellcheck source=scripts/child.sh
source "$(dirname "$0")/child.sh"

fail() { echo "run_530m: $*" >&2; exit 2; }
[ $# -ge 2 ] || fail "usage: run_530m.sh DATA OUT [OPTIONS OF train]; see the head of the script"
data=$1 out=$2
shift 2
steps=${STEPS:-16000} device=${DEVICE:-cuda}
switch=${SWITCH:-$((steps * 10 / 16))}
program=${PROGRAM:-$(dirname "$0")/../build/train_gpt_lighthouse}
ranks=${RANKS:-$({ nvidia-smi -L 2>/dev/null || true; } | wc -l)}
[ -x "$program" ] || fail "$program is not there: make it, or name it with PROGRAM="
compgen -G "$data/train_*.bin" >/dev/null || fail "$data has no train_*.bin: make them with pack (README, Data)"
[ "$ranks" -ge 1 ] || fail "no GPU is to be seen (nvidia-smi -L); RANKS= says how many ranks there should be"

words=(train --preset "${PRESET:-530m}" --device "$device" --data "$data/train_*.bin" --out "$out" --resume auto --steps "$steps"
    --switch-at "$switch" --checkpoint-every "${CHECKPOINT_EVERY:-250}" --keep "${KEEP:-4}" "$@")
if compgen -G "$data/val_*.bin" >/dev/null; then words+=(--val "$data/val_*.bin"); fi

# Every rank may use its share of the cores; mpirun as root is usual in containers.
launch=()
if [ "$ranks" -gt 1 ]; then
    launch=("${MPIRUN:-mpirun}" -np "$ranks" --bind-to none)
    if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
fi
cores=$(($(nproc) / ranks))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > 1 ? cores : 1))}

trap stop_child HUP INT TERM USR1
status=0
run_child "${launch[@]}" "$program" "${words[@]}" || status=$?
if [ "$status" -eq 0 ]; then
    echo "run_530m: all $steps updates are done; the model is $out/$(printf 'step_%08d' "$steps")"
elif [ -n "$stopped" ]; then
    echo "run_530m: stopped; the same command goes on" >&2
    status=75
fi
exit "$status"
