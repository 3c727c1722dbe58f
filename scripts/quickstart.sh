#!/usr/bin/env bash
# The whole job in a few minutes on a CPU: text to shards, stage 1 under Lighthouse attention, stage 2 under dense attention
# from its checkpoint, evaluation on text that was kept apart, a sample.   quickstart.sh [FOLDER]   (default: quickstart, in
# the repository)
set -euo pipefail
out=${1:+$(realpath -m -- "$1")}
out=${out:-quickstart}
cd "$(dirname "$0")/.."
[ -e "$out" ] && { echo "quickstart: $out is there already; remove it, or name another folder: scripts/quickstart.sh FOLDER" >&2; exit 2; }
step() { printf '\n== %s\n' "$*"; }

step "install what is missing and build"
scripts/setup.sh
make -s -j"$(nproc)"
lighthouse=build/train_gpt_lighthouse

step "pack text of this machine: licences, and the copyright notices of its packages"
mapfile -t texts < <(find -L /usr/share/common-licenses /usr/share/doc/*/copyright -type f -size -16k)
$lighthouse pack "${texts[@]}" --out "$out/data" --val-fraction 0.1

common=(--data "$out/data/train_*.bin" --val "$out/data/val_*.bin")
step "stage 1: Lighthouse attention"
$lighthouse train --preset tiny "${common[@]}" --out "$out/run" --steps 250

step "stage 2: the same weights, optimizer and place in the data, under dense attention"
$lighthouse train --resume "$out/run" --attention dense --steps 400 --schedule wsd --decay-steps 120

step "evaluate on documents that were kept apart"
$lighthouse eval --model "$out/run" --data "$out/data/val_*.bin" --val-batches 64

step "a sample"
$lighthouse generate --model "$out/run" --prompt 'Permission is hereby' --max-bytes 300

step "a picture of the run"
$lighthouse report "$out/run" --out "$out/loss.svg"

step "what there is now"
$lighthouse info "$out/run/step_00000400"
echo "an ordinary Llama in $out/run/step_00000400, its log in $out/run/log.jsonl, drawn in $out/loss.svg"
