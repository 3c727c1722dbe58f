#!/usr/bin/env bash
# The small two-stage experiment: dense from scratch for 1,600 steps against Lighthouse for 1,000 and dense for 600, on this
# machine's Python sources (dev/data/python_corpus.sh) in the same order; 4 x 16,384 tokens a step, lr 1e-3, warm-up 200,
# first embedding of std 0.02 (dev/results/small.md says why).
# Ends with the validation loss of both and of a plain PyTorch Llama trained like the dense run (dev/compare/pytorch_run.py; on
# a second GPU at the same time where there is one).   gpu_small.sh FOLDER [PROGRAM]
set -euo pipefail
out=$1 program=${2:-build/train_gpt_lighthouse}
here=$(dirname "$0")
mkdir -p "$out"
[ -d "$out/data" ] || "$here/../data/python_corpus.sh" "$out/data" "$program"
gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader | wc -l)
train=(train --device cuda --log-every 100 --val-every 200 --val-batches 32 --checkpoint-every 0)
small=(--preset small --batch 4 --embedding-std 0.02 --data "$out/data/train/train_*.bin" --val "$out/data/val/train_*.bin")
pytorch() {
    while [ ! -f "$out/dense/run.json" ]; do sleep 0.1; done
    CUDA_VISIBLE_DEVICES=$((gpus - 1)) python3 "$here/../compare/pytorch_run.py" "$out/dense" --wait \
        --init "$out/init/step_00000001" --binary "$program" --log "$out/pytorch.jsonl"
}
compared() { # by the status of the comparison
    case $1 in
    0) ;;
    77) echo "PyTorch is missing: nothing compared" ;;
    *) echo "FAILED: too far from PyTorch" && exit 1 ;;
    esac
}

"$program" "${train[@]}" "${small[@]}" --out "$out/init" --steps 1 --lr 0 --weight-decay 0
if ((gpus > 1)); then pytorch >"$out/pytorch.txt" 2>&1 & fi
export CUDA_VISIBLE_DEVICES=0
"$program" "${train[@]}" "${small[@]}" --out "$out/dense" --attention dense --steps 1600
"$program" "${train[@]}" "${small[@]}" --out "$out/lighthouse" --steps 1000
"$program" "${train[@]}" --resume "$out/lighthouse" --attention dense --steps 1600
for run in dense lighthouse; do
    "$program" eval --model "$out/$run" --data "$out/data/val/train_*.bin" --device cuda
done
"$program" generate --model "$out/lighthouse" --prompt $'def main(' --max-bytes 400 --device cuda
status=0
if ((gpus > 1)); then
    wait $! || status=$?
    cat "$out/pytorch.txt"
else
    pytorch || status=$?
fi
compared $status
