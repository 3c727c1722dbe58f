#!/usr/bin/env bash
# The small two-stage experiment on one GPU: dense from scratch for 1,600 steps against Lighthouse for 1,000 and dense for 600,
# on this machine's own Python sources in the same order; 4 x 16,384 tokens a step, lr 1e-3, warm-up 200.
# Ends with the validation loss of both.   gpu_small.sh FOLDER [PROGRAM]
set -euo pipefail
out=$1 program=${2:-build/train_gpt_lighthouse}
mkdir -p "$out"
sources=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
mapfile -t files < <(find "$sources" -name '*.py' -size -64k | sort | head -20000)
[ -d "$out/data" ] || $program pack "${files[@]}" --out "$out/data" --val-fraction 0.02
train=(train --device cuda --log-every 100 --val-every 200 --val-batches 32 --checkpoint-every 0)
small=(--preset small --batch 4 --data "$out/data/train_*.bin" --val "$out/data/val_*.bin")
$program "${train[@]}" "${small[@]}" --out "$out/lighthouse" --steps 1000
$program "${train[@]}" --resume "$out/lighthouse" --attention dense --steps 1600
$program "${train[@]}" "${small[@]}" --out "$out/dense" --attention dense --steps 1600
for run in dense lighthouse; do
    $program eval --model "$out/$run" --data "$out/data/val_*.bin" --device cuda
done
$program generate --model "$out/lighthouse" --prompt $'def main(' --max-bytes 400 --device cuda
