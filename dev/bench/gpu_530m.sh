#!/usr/bin/env bash
# 530m at 98,304 tokens on one GPU through both stages: packs this machine's own Python sources, 150 steps of Lighthouse, then
# 15 of dense from the checkpoint, then an evaluation.   gpu_530m.sh FOLDER [PROGRAM]
set -euo pipefail
out=$1 program=${2:-build/train_gpt_lighthouse}
mkdir -p "$out"
sources=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
$program info
mapfile -t files < <(find "$sources" -name '*.py' -size -64k | sort | head -20000)
$program pack "${files[@]}" --out "$out/data" --val-fraction 0.02
train=(train --log-every 10 --checkpoint-every 0 --val-every 50 --val-batches 2 --device cuda)
$program "${train[@]}" --preset 530m --data "$out/data/train_*.bin" --val "$out/data/val_*.bin" --out "$out/run" \
    --global-batch 1 --warmup 50 --lr 1e-3 --steps 150
$program "${train[@]}" --resume "$out/run" --attention dense --steps 165
$program eval --model "$out/run" --data "$out/data/val_*.bin" --val-batches 4 --device cuda
