#!/usr/bin/env bash
# The paper's recipe on one host, on all its GPUs: 10,000 updates under Lighthouse attention, 6,000 under dense, 32 sequences of
# 98,304 tokens each, from shards that `pack` wrote.
#
#   run_530m.sh DATA OUT [OPTIONS OF train]      DATA: folder with train_*.bin, and val_*.bin if there is to be a validation
#
# Started again with the same words it goes on from the last checkpoint in OUT, after whatever ended it; when all is done it
# says so and ends with status 0. SIGTERM, SIGINT and SIGUSR1 save first (status 75: start it again). Else the status is the
# program's. Variables: STEPS=16000, SWITCH (10/16 of STEPS; 12000 for the paper's longest first stage), CHECKPOINT_EVERY=250
# (a checkpoint has 6.4 GB), KEEP=4, PRESET=530m, DEVICE=cuda, PROGRAM, RANKS (the GPUs there are), MPIRUN=mpirun with options.
set -euo pipefail
repository=$(dirname "$0")/.. launcher=run_530m
# shellcheck source=scripts/child.sh
source "$repository/scripts/child.sh"
# shellcheck source=scripts/recipe.sh
source "$repository/scripts/recipe.sh"

[ $# -ge 2 ] || refuse "usage: run_530m.sh DATA OUT [OPTIONS OF train]; see the head of the script"
recipe 16000 250 "" "$@"
ranks=${RANKS:-$({ nvidia-smi -L 2>/dev/null || true; } | wc -l)}
[ "$ranks" -ge 1 ] || refuse "no GPU is to be seen (nvidia-smi -L); RANKS= says how many ranks there should be"

command=("$program" train "${words[@]}")
if [ "$ranks" -gt 1 ]; then
    # shellcheck source=scripts/launcher.sh
    source "$repository/scripts/launcher.sh"
    read -ra mpirun <<<"${MPIRUN:-mpirun}"
    command=("${mpirun[@]}" -np "$ranks" "${command[@]}")
fi
cores=$(($(nproc) / ranks))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > 1 ? cores : 1))}

stop_on "${stop_signals[@]}"
status=0
run_child "${command[@]}" || status=$?
model=$out/$(printf 'step_%08d' "$steps")
if [ "$status" -eq 0 ] && [ -d "$model" ]; then
    echo "run_530m: all $steps updates are done; the model is $model"
elif [ "$status" -eq 0 ]; then
    echo "run_530m: ended as its options say, before all $steps updates are done"
elif [ "$status" -eq 75 ]; then
    echo "run_530m: stopped; the same command goes on" >&2
fi
exit "$status"
