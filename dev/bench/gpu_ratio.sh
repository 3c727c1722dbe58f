#!/usr/bin/env bash
# The paper's ratio of tokens to parameters (95) with `small`: 2.6 G tokens in sequences of 16,384, four a GPU and update, on all
# GPUs of this machine; dense against splits of one Lighthouse stage, at equal tokens. Needles are asked for at the end.
#   gpu_ratio.sh FOLDER dense SEED [PROGRAM]
#   gpu_ratio.sh FOLDER splits SEED [PROGRAM]    SPLITS="10 12": sixteenths under Lighthouse, the rest dense
# TOKENS=2.6e9; BATCH=4, sequences of a rank. The recipe of the preset (lr 1e-3, warm-up 200, then constant), first embedding of
# std 0.02; a twentieth of the run from one validation, of VAL=32 sequences, to the next. Of the training text PASSKEYS=0.1 are
# passkey documents, as a small model else finds no needle; validation has none. niah asks TRIALS=20 at each of LENGTHS (1K,4K,8K,16K)
# and depth. PRESET, SEQ and EVAL (sequences of the last evaluation) change what they say; dev/bench/gpu_runs.sh has the rest.
set -euo pipefail
# shellcheck source=dev/bench/gpu_runs.sh
source "$(dirname "$0")/gpu_runs.sh"
if [ $# -lt 3 ] || [ $# -gt 4 ] || ! [[ $2 =~ ^(dense|splits)$ && $3 =~ ^[0-9]+$ ]]; then usage; fi
arm=$2 seed=$3 name=$2_$3
runs_begin "$name" "$1" "${4:-build/train_gpt_lighthouse}"
preset=${PRESET:-small} seq=${SEQ:-16384} batch=${BATCH:-4}
steps=$(awk -v tokens="${TOKENS:-2.6e9}" -v update=$((ranks * batch * seq)) 'BEGIN { printf "%d", tokens / update + 0.999999 }')
splits=$(tr ' ' '\n' <<<"${SPLITS:-10 12}" | sort -n | tr '\n' ' ')
for split in $splits; do
    [[ $split =~ ^[1-9]$|^1[0-5]$ ]] || { echo "gpu_ratio.sh: SPLITS: $split is no number of sixteenths" >&2; exit 2; }
done
needle_words=(--lengths "${LENGTHS:-1K,4K,8K,16K}" --trials "${TRIALS:-20}")
all=()
[ -z "${EVAL:-}" ] || all=(--val-batches "$EVAL")

measure() { # RUN: what is known of it at its end
    evaluate "$1" "${all[@]}"
    needles "$1" "${needle_words[@]}"
    echo "$1, in fact: $(seconds_of "$1")" | tee -a "$out/$name.plan.txt"
}

need_data "$seq" --passkey-fraction "${PASSKEYS:-0.1}"
often=$((steps >= 20 ? steps / 20 : 1))
common=(--preset "$preset" --seq-len "$seq" --device "$device" --batch "$batch" --global-batch $((ranks * batch)) --seed "$seed"
    --embedding-std 0.02 --data "$data/train/train_*.bin" --val "$data/val/train_*.bin" --val-every "$often"
    --val-batches "${VAL:-32}" --checkpoint-every 0 --log-every 100)
echo "$steps updates of $((ranks * batch * seq)) tokens on $ranks ranks" | tee "$out/$name.plan.txt"

if [ "$arm" = dense ]; then
    runs=("$name")
    reach "$name" "$steps" --attention dense
    measure "$name"
else
    stage=lighthouse_$seed
    runs=("$stage")
    for split in $splits; do
        switch=$((steps * split / 16)) run=split_${split}_16_$seed
        reach "$stage" "$switch" --attention lighthouse
        reach_branch "$run" "$steps" "$switch" "$stage" --attention dense
        measure "$run"
        runs+=("$run")
        keep "$name" "${runs[@]}"
    done
fi
"$program" report "${runs[@]/#/$out/}" --out "$out/$name.html" || true
keep "$name" "${runs[@]}"
