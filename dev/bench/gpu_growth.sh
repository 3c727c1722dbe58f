#!/usr/bin/env bash
# How cost grows with the context: times of a layer of 8 heads of 128 and of a step of `small`, dense and Lighthouse (k = N/64,
# p 4, L 3; at the longest also L 4, k 4096), as JSON lines for growth.py.   gpu_growth.sh OUT.jsonl [PROGRAM]
set -euo pipefail
out=$1 program=${2:-build/train_gpt_lighthouse}
: >"$out"
for n in 8192 16384 32768 65536 131072 262144 524288 1048576; do
    few=(--repeats 5 --warmup 2)
    ((n < 262144)) || few=(--repeats 1 --warmup 1)
    ((n < 1048576)) || few=(--repeats 1 --warmup 0)
    shape=(--seq-len $n --topk $((n / 64)) --levels 3 --pool 4)
    "$program" bench attention --no-parts "${shape[@]}" "${few[@]}" >>"$out"
    recompute=none
    ((n < 524288)) || recompute=block
    "$program" bench step --no-parts --preset small --batch 1 --recompute $recompute "${shape[@]}" "${few[@]}" >>"$out"
done
"$program" bench attention --no-parts --attention lighthouse --seq-len 1048576 --topk 4096 --levels 4 --repeats 5 >>"$out"
