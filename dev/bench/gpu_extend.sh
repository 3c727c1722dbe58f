#!/usr/bin/env bash
# A longer context in equal GPU time: a base trained at FROM=4096 tokens under dense attention, then extended to SEQ=98304 in
# MINUTES, once under dense attention and once by scripts/extend_context.sh, under Lighthouse with a dense tail.
#   gpu_extend.sh FOLDER SEED [PROGRAM]
# BASE_MINUTES=10 and MINUTES=7 are of updates; TAIL=30 is the percentage of them that the tail gets. First, seconds per update
# are measured (bench step); SECONDS_PER_UPDATE="0.35 0.97 4.2" (base, Lighthouse, dense) are taken instead where given. The base:
# PRESET=270m, BATCH=16 sequences a GPU and update, lr 1e-3, first embedding of std 0.02. Both arms: one sequence a GPU and
# update, THETA=1e6 for the base of RoPE, lr LR=3e-4, a warm-up of 20 updates, to 0 in the last tenth of the time, which are dense
# updates in both; the same text in the same order. Ends with the loss by position of EVAL=16 sequences, of the base as well.
# WARMUP changes both warm-ups, TOPK=1536 is Lighthouse's k; dev/bench/gpu_runs.sh has the rest.
set -euo pipefail
# shellcheck source=dev/bench/gpu_runs.sh
source "$(dirname "$0")/gpu_runs.sh"
if [ $# -lt 2 ] || [ $# -gt 3 ] || ! [[ $2 =~ ^[0-9]+$ ]]; then usage; fi
seed=$2 name=extend_$2
runs_begin "$name" "$1" "${3:-build/train_gpt_lighthouse}"
preset=${PRESET:-270m} from=${FROM:-4096} seq=${SEQ:-98304} batch=${BATCH:-16} tail=${TAIL:-30} eval=${EVAL:-16}
[[ $tail =~ ^[1-9][0-9]?$ ]] || { echo "gpu_extend.sh: TAIL: $tail is no percentage" >&2; exit 2; }

bench_step() { # ATTENTION TOKENS BATCH: seconds per update
    on_ranks bench step --preset "$preset" --seq-len "$2" --batch "$3" --attention "$1" --device "$device" --no-parts --warmup 2 \
        --repeats 3 >"$out/bench.$1.$2.jsonl"
    sed -n 's/.*"name": "step", "ms": \([0-9.]*\).*/\1/p' "$out/bench.$1.$2.jsonl" | awk '{ print $1 / 1e3 }'
}
measure() {
    [ -z "${SECONDS_PER_UPDATE:-}" ] || echo "$SECONDS_PER_UPDATE" >"$out/seconds.txt"
    if [ ! -s "$out/seconds.txt" ]; then
        echo "== seconds per update ($(date +%T))"
        echo "$(bench_step dense "$from" "$batch") $(bench_step lighthouse "$seq" 1) $(bench_step dense "$seq" 1)" >"$out/seconds.tmp"
        mv "$out/seconds.tmp" "$out/seconds.txt"
    fi
    read -r base_seconds lighthouse_seconds dense_seconds <"$out/seconds.txt"
}
updates() { # PERCENT MINUTES SECONDS: updates in a share of the time
    awk -v share="$1" -v minutes="$2" -v each="$3" 'BEGIN { n = share / 100 * minutes * 60 / each; print n < 1 ? 1 : int(n + 0.5) }'
}
plan() { echo "$*" | tee -a "$out/$name.plan.txt"; }

need_data "$seq"
measure
minutes=${MINUTES:-7} base=base_$seed dense=dense_$seed light=extended_$seed
base_steps=$(updates 100 "${BASE_MINUTES:-10}" "$base_seconds")
dense_steps=$(updates 100 "$minutes" "$dense_seconds")
light_steps=$(updates $((100 - tail)) "$minutes" "$lighthouse_seconds") tail_steps=$(updates "$tail" "$minutes" "$dense_seconds")
decay=$(updates 10 "$minutes" "$dense_seconds")
[ "$decay" -le "$tail_steps" ] || decay=$tail_steps
rm -f "$out/$name.plan.txt"
plan "$ranks ranks; seconds per update: base $base_seconds, Lighthouse $lighthouse_seconds, dense $dense_seconds"
plan "base: $base_steps updates of $((ranks * batch * from)) tokens; dense: $dense_steps of $((ranks * seq));" \
    "Lighthouse: $light_steps and a tail of $tail_steps; the last $decay decay"

text=("--data" "$data/train/train_*.bin" --device "$device" --seed "$seed" --val-every 0 --checkpoint-every 0 --log-every 10)
common=(--preset "$preset" --seq-len "$from" --batch "$batch" --global-batch $((ranks * batch)) --embedding-std 0.02 --lr 1e-3
    --warmup "${WARMUP:-50}" --min-lr 0 --schedule wsd --attention dense "${text[@]}")
reach "$base" "$base_steps" --decay-steps $((base_steps / 10 + 1))
model=$(checkpoint "$base" "$base_steps")
longer=(--lr "${LR:-3e-4}" --warmup "${WARMUP:-20}" --min-lr 0 --schedule wsd --decay-steps "$decay" --batch 1 --global-batch "$ranks" --seed "$seed"
    --val-every 0 --checkpoint-every 0 --log-every 10)

common=(--init "$model" --seq-len "$seq" --rope-theta "${THETA:-1e6}" "${longer[@]}" --data "$data/train/train_*.bin" --device "$device")
reach "$dense" "$dense_steps" --attention dense
evaluate "$dense" --val-batches "$eval"
plan "$dense, in fact: $(seconds_of "$dense")"

# Both kinds of shards in one folder, as the script takes them.
mkdir -p "$out/shards"
for file in "$data"/train/train_*.bin; do ln -sfn "$(realpath "$file")" "$out/shards/"; done
for file in "$data"/val/train_*.bin; do ln -sfn "$(realpath "$file")" "$out/shards/val_${file##*train_}"; done
MPIRUN="${launch[*]}" "$(dirname "$0")/../../scripts/extend_context.sh" "$model" "$out/shards" "$out/$light" --to "$seq" \
    --rope-theta "${THETA:-1e6}" --lighthouse-steps "$light_steps" --dense-steps "$tail_steps" --sequences "$eval" --device "$device" \
    --program "$program" -- --topk "${TOPK:-1536}" "${longer[@]}" 9>&-
plan "$light, in fact: $(seconds_of "$light/run" | paste -sd ' ')"
cp "$out/$light/before.json" "$out/eval/before_$seed.json"
cp "$out/$light/after.json" "$out/eval/$light.json"
"$program" report "$out/$base" "$out/$dense" "$out/$light/run" --positions \
    "$out/eval/before_$seed.json,$out/eval/$dense.json,$out/eval/$light.json" --out "$out/$name.html" || true
keep "$name" "$base" "$dense" "$light/run" "before_$seed" "$light"
