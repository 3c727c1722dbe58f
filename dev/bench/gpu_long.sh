#!/usr/bin/env bash
# The small two-stage experiment (gpu_small.sh) on sequences of 65,536 tokens, one an update, k 1024. Three runs that take the
# same time on a GPU: dense for 1,006 updates; Lighthouse for 1,000, then dense for 600; Lighthouse for 1,600, then dense for
# 350. And dense for 1,600 updates, which takes 1.6 times as long. Some 6 minutes each but the last; RUNS="dense split later
# dense_long" chooses some. Ends with their losses over all validation data.   gpu_long.sh FOLDER [PROGRAM [SEED]]
set -euo pipefail
out=$1 program=${2:-build/train_gpt_lighthouse} seed=${3:-1}
mkdir -p "$out"
[ -d "$out/data" ] || "$(dirname "$0")/../data/python_corpus.sh" "$out/data" "$program" 388 65536
words() { # of a run
    case $1 in
    dense) echo --attention dense --steps 1006 ;;
    split) echo --topk 1024 --switch-at 1000 --steps 1600 ;;
    later) echo --topk 1024 --switch-at 1600 --steps 1950 ;;
    dense_long) echo --attention dense --steps 1600 ;;
    *) echo "$1 is none of dense, split, later, dense_long" >&2 && exit 2 ;;
    esac
}
for run in ${RUNS:=dense split later dense_long}; do
    what=$(words "$run")
    # shellcheck disable=SC2086
    "$program" train --preset small --device cuda --seq-len 65536 --batch 1 --global-batch 1 --embedding-std 0.02 \
        --data "$out/data/train/train_*.bin" --val "$out/data/val/train_*.bin" --val-every 100 --val-batches 32 \
        --checkpoint-every 0 --log-every 100 --seed "$seed" --out "$out/$run" $what
done
for run in $RUNS; do
    "$program" eval --model "$out/$run" --data "$out/data/val/train_*.bin" --device cuda
done
