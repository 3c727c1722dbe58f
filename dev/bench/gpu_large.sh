#!/usr/bin/env bash
# Models and contexts that only just fit: what the plan says of memory and time, and what `bench step` and nvidia-smi show.
#   gpu_large.sh FOLDER [PROGRAM [ROW...]]    all rows of the list below for which there are GPUs, or those that are named
# A row that is done is left as it is, so the same command goes on after whatever ended it; table.md holds all of them. Status 1
# where a row failed, its words are in FOLDER/ROW.txt. LIMIT=300 seconds a row; REPEATS=2 steps of each attention, WARMUP=1.
# RANKS, DEVICE, MPIRUN: see gpu_runs.sh. PRESET=tiny SEQ=512 OPTIONS="--levels 2 --topk 256 --dense-layers 0" try it on a CPU.
set -euo pipefail
# shellcheck source=dev/bench/gpu_runs.sh
source "$(dirname "$0")/gpu_runs.sh"
[ $# -ge 1 ] || usage
runs_begin large "$1" "${2:-build/train_gpt_lighthouse}"
million="--seq-len 1048576 --levels 4 --topk 4096 --recompute block --offload activations"
# NAME  RANKS  OPTIONS
list="530m           1 --preset 530m --seq-len 98304
530m_512k       1 --preset 530m --seq-len 524288 --recompute block --offload activations --dense-layers none --attention lighthouse
2b_1m           1 --preset 2b $million --dense-layers none --attention lighthouse
8b_128k         4 --preset 8b --seq-len 131072 --cp 4 --zero 2 --recompute block
8b_128k_zero1   4 --preset 8b --seq-len 131072 --cp 4 --zero 1 --recompute block
8b_1m_none      4 --preset 8b $million --cp 4 --zero 2 --dense-layers none --attention lighthouse
8b_1m_four      4 --preset 8b $million --cp 4 --zero 2 --attention lighthouse
8b_1m_dense     4 --preset 8b $million --cp 4 --zero 2 --attention dense"
all_gpus=$ranks all_threads=$OMP_NUM_THREADS
names=("${@:3}")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(awk -v ranks="$ranks" '$2 <= ranks { print $1 }' <<<"$list")

# Sets ranks, launch and options. PRESET and SEQ take the place of all that the row asks for.
options_of() { # ROW
    local words more
    read -ra words < <(awk -v name="$1" '$1 == name' <<<"$list") || true
    [ ${#words[@]} -gt 0 ] || { echo "gpu_large.sh: there is no row $1" >&2; exit 2; }
    ranks=${words[1]} options=("${words[@]:2}")
    [ "$ranks" -le "$all_gpus" ] || { echo "gpu_large.sh: $1 takes $ranks GPUs, and there are $all_gpus" >&2; exit 2; }
    [ -z "${PRESET:-}" ] || options=(--preset "$PRESET" --seq-len "$SEQ")
    IFS=' ' read -ra more <<<"${OPTIONS:-}"
    options+=("${more[@]}")
    launch=()
    [ "$ranks" -eq 1 ] || launch=("${MPIRUN:-mpirun}" -np "$ranks" --bind-to none)
    export OMP_NUM_THREADS=$((all_threads * all_gpus / ranks))
}
# The plan that `train` makes, which has no --attention both.
plan() { # ROW
    local dry=() i
    for ((i = 0; i < ${#options[@]}; i++)); do
        case ${options[i]} in --attention) i=$((i + 1)) ;; *) dry+=("${options[i]}") ;; esac
    done
    "$program" train --dry-run --device "$device" --ranks "$ranks" --global-batch 1 "${dry[@]}" >"$out/$1.plan" 2>&1
}
# The most that a GPU held until the process is gone, in GB.
watch_memory() { # PROCESS
    while kill -0 "$1" 2>/dev/null; do
        nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits 2>/dev/null || true
        sleep 0.5
    done | awk '$1 > most { most = $1 } END { if (most) printf "%.2f", most * 1.048576e-3 }'
}
measure() { # ROW
    local job
    timeout "${LIMIT:-300}" "${launch[@]}" "$program" bench step --device "$device" --repeats "${REPEATS:-2}" --warmup "${WARMUP:-1}" \
        "${options[@]}" >"$out/$1.part" 2>"$out/$1.txt" </dev/null 9>&- &
    job=$!
    watch_memory $job >"$out/$1.held"
    wait $job && mv "$out/$1.part" "$out/$1.jsonl"
}
table() {
    python3 - "$out" <<'PYTHON'
import json, os, re, sys
print("| row | attention | planned, GB a GPU | nvidia-smi, GB | step, s | predicted, s | K tokens/s |")
print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
for file in sorted(os.listdir(sys.argv[1])):
    row, ending = os.path.splitext(file)
    if ending != ".jsonl" or not os.path.exists(f"{sys.argv[1]}/{row}.plan"):
        continue
    read = lambda kind: open(f"{sys.argv[1]}/{row}.{kind}").read()
    predicted = dict(re.findall(r"^  (lighthouse|dense) +([0-9.]+) s an update", read("plan"), re.M))
    for line in map(json.loads, read("jsonl").splitlines()):
        if line["name"] == "step":
            kind = line["attention"]
            print(f"| {row} | {kind} | {line['memory_gb']:.1f} | {read('held') or '–'} | {line['ms'] / 1e3:.3f} | "
                  f"{predicted.get(kind, '–')} | {line['tokens_per_s'] / 1e3:.2f} |")
PYTHON
}
failed=0
for row in "${names[@]}"; do
    options_of "$row"
    [ ! -s "$out/$row.jsonl" ] || continue
    echo "== $row, GPUs: $ranks ($(date +%T))"
    { plan "$row" && measure "$row"; } || { failed=1 && tail -qn 2 "$out/$row.plan" "$out/$row.txt" >&2 2>/dev/null; }
    table >"$out/table.md"
done
cat "$out/table.md"
exit $failed
