#!/usr/bin/env bash
# Training steps of 530m on W GPUs of one machine against one GPU: on sequences of their own, and on slices of sequences W
# times as long (--cp W), with what attention on so many rows takes by itself. Rows of `bench` go to FOLDER, a table by
# dev/bench/ranks.py comes last.   gpu_ranks.sh FOLDER [W] [PROGRAM]   LONG=1 adds steps at 1,048,576 tokens
set -euo pipefail
out=$1 W=${2:-2} program=${3:-build/train_gpt_lighthouse}
tokens=98304 topk=1536
mkdir -p "$out"
export NCCL_NVLS_ENABLE=${NCCL_NVLS_ENABLE:-0} # without NVLink's multicast
# shellcheck source=scripts/launcher.sh
source "$(dirname "$0")/../../scripts/launcher.sh"
ranks=(mpirun -np "$W" "$program")
often=(--warmup 2 --repeats 5)
bench() { # NAME COMMAND...
    echo "== $1" >&2
    "${@:2}" >"$out/$1.jsonl"
}
slices=(--seq-len $((W * tokens)) --topk $((W * topk)))

bench layer "$program" bench attention --preset 530m "${often[@]}"
bench layer_share "$program" bench attention --heads $((8 / W)) --kv-heads $((8 / W)) --head-dim 128 --levels 3 --pool 4 \
    "${slices[@]}" "${often[@]}"
bench step "$program" bench step --preset 530m "${often[@]}"
bench step_data "${ranks[@]}" bench step --preset 530m "${often[@]}"
bench step_context "${ranks[@]}" bench step --preset 530m "${slices[@]}" --cp "$W" "${often[@]}"
if [ -n "${LONG:-}" ]; then
    bench step_long "${ranks[@]}" bench step --preset 530m --seq-len 1048576 --levels 4 --topk 4096 --cp "$W" \
        --dense-layers none --attention lighthouse --recompute block --warmup 1 --repeats 3
fi
python3 "$(dirname "$0")/ranks.py" "$out"
