#!/usr/bin/env bash
# Does Lighthouse pay in equal GPU time? 270m on sequences of 98,304 tokens, one a GPU and update, on all GPUs of this machine;
# one arm of the comparison a call. What each arm gets is seconds of updates (validations, saves and starts do not count).
#   gpu_hours.sh FOLDER dense SEED [PROGRAM]
#   gpu_hours.sh FOLDER lighthouse SEED [PROGRAM]    one stage 1; TAILS="10 20" branch off it, each the named percentage of
#                                                    the time under dense attention (stage 1 runs as long as the shortest needs)
# MINUTES=20 an arm. First, seconds per update of both attentions are measured (bench step) and kept in FOLDER/seconds.txt;
# SECONDS_PER_UPDATE="0.95 3.9" (Lighthouse, dense) are taken instead where given. From these follow the updates, which
# NAME.plan.txt holds. All arms: lr 1e-3, warm-up of 50 updates, then constant, to 0 in the last DECAY=10 percent of the time, which
# are dense updates in every arm; first embedding of std 0.02; the same text in the same order; a validation of VAL=8
# sequences, under dense attention, about every 100 s. Ends with the loss by position over all validation text.
# PRESET, SEQ, LR, WARMUP, EVERY=100 (seconds) and EVAL (sequences) change what they say; dev/bench/gpu_runs.sh has the rest.
set -euo pipefail
# shellcheck source=dev/bench/gpu_runs.sh
source "$(dirname "$0")/gpu_runs.sh"
if [ $# -lt 3 ] || [ $# -gt 4 ] || ! [[ $2 =~ ^(dense|lighthouse)$ && $3 =~ ^[0-9]+$ ]]; then usage; fi
arm=$2 seed=$3 name=$2_$3
runs_begin "$name" "$1" "${4:-build/train_gpt_lighthouse}"
preset=${PRESET:-270m} seq=${SEQ:-98304} minutes=${MINUTES:-20} decay=${DECAY:-10}
tails=$(tr ' ' '\n' <<<"${TAILS:-10 20}" | sort -rn | tr '\n' ' ')
for tail in $tails; do
    [[ $tail =~ ^[1-9][0-9]?$ ]] || { echo "gpu_hours.sh: TAILS: $tail is no percentage" >&2; exit 2; }
done

measure() { # seconds per update of each attention, in their order in the rows of bench
    if [ -n "${SECONDS_PER_UPDATE:-}" ]; then
        echo "$SECONDS_PER_UPDATE" >"$out/seconds.txt"
    elif [ ! -s "$out/seconds.txt" ]; then
        echo "== seconds per update ($(date +%T))"
        on_ranks bench step --preset "$preset" --seq-len "$seq" --device "$device" --no-parts --warmup 2 --repeats 5 >"$out/bench.jsonl"
        python3 - "$out/bench.jsonl" >"$out/seconds.tmp" <<'PYTHON'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
ms = {row["attention"]: row["ms"] for row in rows if row["name"] == "step"}
print(ms["lighthouse"] / 1e3, ms["dense"] / 1e3)
PYTHON
        mv "$out/seconds.tmp" "$out/seconds.txt"
    fi
    read -r lighthouse_seconds dense_seconds <"$out/seconds.txt"
}

updates() { # PERCENT SECONDS: updates in a share of the time
    awk -v share="$1" -v each="$2" -v minutes="$minutes" 'BEGIN { n = share / 100 * minutes * 60 / each; print n < 1 ? 1 : int(n + 0.5) }'
}
every() { # SECONDS: updates between two validations
    awk -v each="$1" -v gap="${EVERY:-100}" 'BEGIN { n = int(gap / each + 0.5); print n < 1 ? 1 : n }'
}
decaying() { # UPDATES: the last ones of so many dense updates
    local steps
    steps=$(updates "$decay" "$dense_seconds")
    echo $((steps < $1 ? steps : $1))
}

need_data "$seq"
measure
common=(--preset "$preset" --seq-len "$seq" --device "$device" --batch 1 --global-batch "$ranks" --seed "$seed" --embedding-std 0.02
    --lr "${LR:-1e-3}" --warmup "${WARMUP:-50}" --min-lr 0 --data "$data/train/train_*.bin" --val "$data/val/train_*.bin"
    --val-batches "${VAL:-8}" --checkpoint-every 0 --log-every 10)
dense=(--attention dense --schedule wsd --val-every "$(every "$dense_seconds")")
stage_1=(--attention lighthouse --schedule constant --val-every "$(every "$lighthouse_seconds")")
tokens=$((ranks * seq))
plan() { echo "$*" | tee -a "$out/$name.plan.txt"; }
rm -f "$out/$name.plan.txt"
plan "$minutes minutes on $ranks ranks; seconds per update: Lighthouse $lighthouse_seconds, dense $dense_seconds; tokens an update: $tokens"

runs=() all=()
[ -z "${EVAL:-}" ] || all=(--val-batches "$EVAL")
if [ "$arm" = dense ]; then
    steps=$(updates 100 "$dense_seconds")
    plan "$name: $steps updates, the last $(decaying "$steps") decay; $((steps * tokens)) tokens"
    reach "$name" "$steps" "${dense[@]}" --decay-steps "$(decaying "$steps")"
    plan "$name, in fact: $(seconds_of "$name")"
    evaluate "$name" "${all[@]}"
    runs+=("$name")
else
    runs+=("$name")
    for tail in $tails; do
        switch=$(updates $((100 - tail)) "$lighthouse_seconds") dense_steps=$(updates "$tail" "$dense_seconds") run=tail${tail}_$seed
        plan "$run: $switch Lighthouse updates, $dense_steps dense, of which the last $(decaying "$dense_steps") decay;" \
            "$(((switch + dense_steps) * tokens)) tokens"
        reach "$name" "$switch" "${stage_1[@]}"
        reach_branch "$run" $((switch + dense_steps)) "$switch" "$name" "${dense[@]}" --decay-steps "$(decaying "$dense_steps")"
        plan "$run, in fact: $(seconds_of "$run") after $(seconds_of "$name" "$switch")"
        evaluate "$run" "${all[@]}"
        runs+=("$run")
        keep "$name" "${runs[@]}" # another tail may find no time any more
    done
fi
"$program" report "${runs[@]/#/$out/}" --out "$out/$name.html" || true
keep "$name" "${runs[@]}"
