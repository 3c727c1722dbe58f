#!/usr/bin/env bash
# 530m on one sequence of 1,048,576 tokens on one GPU (L 4, k 4096, recomputation), on this machine's Python sources: 20 steps
# in the paper's setting, which has no dense layers; then two steps with the default dense layers, through a checkpoint
# between them.   gpu_million.sh FOLDER [PROGRAM]
set -euo pipefail
out=$1 program=${2:-build/train_gpt_lighthouse}
mkdir -p "$out"
[ -d "$out/data" ] || "$(dirname "$0")/../data/python_corpus.sh" "$out/data" "$program" 200 1048576
train=(train --device cuda --log-every 1 --checkpoint-every 0 --keep 1)
million=(--preset 530m --seq-len 1048576 --levels 4 --topk 4096 --recompute block --global-batch 1 --warmup 10
    --data "$out/data/train/train_*.bin")
"$program" "${train[@]}" "${million[@]}" --dense-layers none --lr 1e-3 --steps 20 --out "$out/none"
"$program" "${train[@]}" "${million[@]}" --steps 2 --stop-at 1 --out "$out/default"
"$program" "${train[@]}" --resume "$out/default" --stop-at 2
