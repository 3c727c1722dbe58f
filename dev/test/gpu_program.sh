#!/usr/bin/env bash
# The program as a whole on the GPU, with models of a moment: runs that stop and go on, recomputation, checkpoints that
# pass between the engines, evaluation and sampling.
#   gpu_program.sh PROGRAM [--device cuda] [--reference cpu]   one line a check, "N passed" last; status 1 when one failed
#   gpu_program.sh PROGRAM --sanitize memcheck|racecheck|...   the program under a tool of compute-sanitizer instead
# --device is the one under test and --reference the one it is held against: `--device cpu` exercises the checks
# themselves where no GPU is. --keep FOLDER works there (a new folder) and leaves all runs and consoles behind.
set -u
export LC_ALL=C

usage() { sed -n '2,8s/^# //p' "$0" >&2; exit 2; }

program="" device=cuda reference=cpu tool="" work=""
while [ $# -gt 0 ]; do
    case $1 in
    --device | --reference | --sanitize | --keep) [ $# -gt 1 ] || usage ;;&
    --device) device=$2 && shift 2 ;;
    --reference) reference=$2 && shift 2 ;;
    --sanitize) tool=$2 && shift 2 ;;
    --keep) work=$2 && shift 2 ;;
    -*) usage ;;
    *) [ -z "$program" ] || usage; program=$(realpath "$1") && shift ;;
    esac
done
[ -x "$program" ] || usage
sources=$(realpath "$(dirname "$0")/../..")
our_kernels=$(grep -rohE --include='*.cu' --include='*.cuh' '\b[a-z0-9_]+_kernel\b' "$sources"/*.cuh "$sources"/cuda | sort -u)
if [ -n "$work" ]; then
    mkdir "$work" || exit 2
else
    work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
fi
cd "$work" || exit 1

# ---- Checks: functions that end with status 0, or say why not.

passed=0 failed=0
check() { # NAME FUNCTION [WORD...]
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1)) && echo "PASS $name${said:+: $said}"
    else
        failed=$((failed + 1)) && echo "FAIL $name: $said"
    fi
}

# Runs the program, its console kept in calls.log; its output alone goes to standard output where `output` runs it.
call() { echo "\$ $*" >>calls.log; "$program" "$@" >>calls.log 2>errors.log || { echo "$*: status $?: $(tail -n 1 errors.log)"; return 1; }; }
output() { echo "\$ $*" >>calls.log; "$program" "$@" 2>errors.log || { echo "$*: status $?: $(tail -n 1 errors.log)" >&2; return 1; }; }

same() { cmp -s "$1" "$2" || { echo "$1 and $2 are not the same"; return 1; }; }
unlike() { { [ -s "$1" ] && [ -s "$2" ] && ! cmp -s "$1" "$2"; } || { echo "$1 and $2 should differ"; return 1; }; }
equal() { [ "$1" = "$2" ] || { echo "$3: '$1', not '$2'"; return 1; }; }

step_folder() { printf '%s/step_%08d' "$1" "$2"; }
files="model.safetensors trainer/optimizer.safetensors"

# The same weights, moments and gates; a run that was resumed in the dense stage has no gates.
same_checkpoint() { # RUN OTHER STEP
    local one other file gates=trainer/gates.safetensors
    one=$(step_folder "$1" "$3") other=$(step_folder "$2" "$3")
    for file in $files; do same "$one/$file" "$other/$file" || return 1; done
    [ ! -e "$one/$gates" ] || [ ! -e "$other/$gates" ] || same "$one/$gates" "$other/$gates"
}

# The run has learnt between two steps.
learnt() { # RUN STEP OTHER_STEP
    local file
    for file in $files; do unlike "$(step_folder "$1" "$2")/$file" "$(step_folder "$1" "$3")/$file" || return 1; done
}

# Step, tokens, loss, gradient norm, learning rate and attention of every step: what a run that goes on must repeat.
steps_of() { sed -n 's/^\({"step":.*\),"tok_per_s".*/\1/p' "$1/log.jsonl"; }
same_steps() { # RUN OTHER COUNT
    steps_of "$1" >one.steps && steps_of "$2" >other.steps
    equal "$(wc -l <one.steps)" "$3" "steps logged by $1" && same one.steps other.steps
}
both_stages() { # RUN LIGHTHOUSE DENSE: steps of each
    equal "$(steps_of "$1" | grep -c '"attention":"lighthouse"')" "$2" "Lighthouse steps of $1" &&
        equal "$(steps_of "$1" | grep -c '"attention":"dense"')" "$3" "dense steps of $1"
}

# Largest relative difference of the losses of two runs, step by step; fails above the bound, or where the losses hardly
# move so that any would do.
losses_agree() { # RUN OTHER COUNT BOUND
    steps_of "$1" | sed 's/.*"loss":\([^,]*\).*/\1/' >one.losses
    steps_of "$2" | sed 's/.*"loss":\([^,]*\).*/\1/' >other.losses
    paste one.losses other.losses | awk -v count="$3" -v bound="$4" '
        NF != 2 || $1 + 0 <= 0 || $2 + 0 <= 0 { print "a loss is missing"; bad = 1; exit 1 }
        { d = ($1 - $2) / $2; if (d < 0) d = -d; if (d > worst) worst = d; if (NR == 1) first = $2; last = $2 }
        END {
            if (bad) exit 1
            printf "largest difference %.1e over %d steps, loss %.3f to %.3f\n", worst, NR, first, last
            exit !(NR == count && worst <= bound && first / last > 1 + 3 * bound)
        }'
}

# ---- Data and model

letters() { # a text that a small model soon knows by heart, told apart by a number a line
    awk -v seed="$1" 'BEGIN { for (i = 0; i < 60; i++)
        printf "%d the quick brown fox jumps over the lazy dog and runs away.\n", (seed * 37 + i * 11) % 1000 }'
}

make_data() {
    mkdir text && for i in $(seq 40); do letters "$i" >"text/$i.txt"; done
    call pack text --out data --val-fraction 0.2
}

cat >recipe.json <<'JSON'
{"settings": {"data": "data/train_*.bin", "layers": 3, "dim": 64, "ffn": 128, "vocab": 264, "dense-layers": "0",
    "seq-len": 1024, "levels": 3, "pool": 2, "topk": 128, "batch": 2, "global-batch": 4, "lr": 3e-3, "warmup": 4,
    "checkpoint-every": 2}}
JSON

# Heads differ by scorer, so that both head widths, equal and grouped heads come up.
shape() {
    case $1 in
    norm) echo --scorer norm --heads 2 --kv-heads 2 --head-dim 128 ;;
    dilated) echo --scorer dilated --heads 4 --kv-heads 2 --head-dim 64 ;;
    gla) echo --scorer gla --heads 2 --kv-heads 1 --head-dim 128 ;;
    esac
}

# shellcheck disable=SC2046
train() { # DEVICE SCORER OUT [OPTION...]
    call train --config recipe.json --device "$1" $(shape "$2") --out "${@:3}"
}
resume() { # DEVICE RUN [OPTION...]
    call train --device "$1" --resume "${@:2}"
}

# ---- The same bits

straight() { # SCORER: eight updates, of which the last four are dense; what the next two are held against
    train "$device" "$1" "straight.$1" --deterministic --switch-at 4 --steps 8 && learnt "straight.$1" 2 8 &&
        learnt "straight.$1" 6 8 && both_stages "straight.$1" 4 4
}

# Stopped within the Lighthouse stage, and within the dense one.
resumed() { # SCORER
    train "$device" "$1" "resumed.$1" --deterministic --switch-at 4 --steps 2 &&
        resume "$device" "resumed.$1" --steps 6 && resume "$device" "resumed.$1" --steps 8 &&
        equal "$(grep -c '"event":"resume"' "resumed.$1/log.jsonl")" 2 "resumes" &&
        for step in 2 4 6 8; do same_checkpoint "straight.$1" "resumed.$1" $step || return 1; done &&
        same_steps "straight.$1" "resumed.$1" 8
}

memory_of() { sed -n '1s/.*"mem_gb":\([^,]*\).*/\1/p' "$1/log.jsonl"; }
recomputed() { # SCORER
    train "$device" "$1" "block.$1" --deterministic --switch-at 4 --steps 8 --recompute block &&
        for step in 4 8; do same_checkpoint "straight.$1" "block.$1" $step || return 1; done &&
        same_steps "straight.$1" "block.$1" 8 &&
        awk -v block="$(memory_of "block.$1")" -v none="$(memory_of "straight.$1")" \
            'BEGIN { printf "%.4f GB for %.4f\n", block, none; exit !(block > 0 && block < none) }'
}

# Weights and moments in host memory for some updates: checkpoints do not tell.
offloaded() {
    train "$device" norm away --deterministic --switch-at 4 --steps 4 --offload optimizer &&
        resume "$device" away --steps 6 --offload none &&
        resume "$device" away --steps 8 --offload all --recompute block || return 1
    for step in 2 4 6 8; do same_checkpoint straight.norm away $step || return 1; done
    same_steps straight.norm away 8
}

# A signal at no particular step; a run of as many steps, without one, must have the same bits.
signalled() {
    local pid status step
    # shellcheck disable=SC2046
    "$program" train --config recipe.json --device "$device" $(shape norm) --out signalled --deterministic \
        --checkpoint-every 0 --steps 1000000 >>calls.log 2>errors.log &
    pid=$!
    for _ in $(seq 600); do
        [ -e signalled/log.jsonl ] && [ "$(steps_of signalled | wc -l)" -ge 2 ] && break
        sleep 0.1
    done
    kill -TERM $pid
    wait $pid
    status=$?
    equal $status 75 "exit status after SIGTERM" || { tail -n 1 errors.log; return 1; }
    step=$(steps_of signalled | wc -l)
    resume "$device" signalled --steps $((step + 2)) &&
        train "$device" norm unsignalled --deterministic --checkpoint-every 0 --steps $((step + 2)) &&
        same_checkpoint signalled unsignalled $((step + 2)) && same_steps signalled unsignalled $((step + 2)) &&
        echo "stopped after step $step"
}

# ---- Checkpoints that pass between the engines

# Four updates there, four here, over the switch, and four there again; held against twelve there.
between() { # SCORER
    train "$reference" "$1" "home.$1" --switch-at 6 --steps 12 && both_stages "home.$1" 6 6 &&
        train "$reference" "$1" "guest.$1" --switch-at 6 --steps 4 && resume "$device" "guest.$1" --steps 8 &&
        resume "$reference" "guest.$1" --steps 12 && both_stages "guest.$1" 6 6 &&
        same_checkpoint "home.$1" "guest.$1" 4 && losses_agree "guest.$1" "home.$1" 12 2e-2
}

# Whether the float32 values of one file of tensors are those of another times a factor, bit for bit; where halving
# left float32's normal range, to its smallest.
scaled() { # FILE OF FACTOR
    python3 - "$@" <<'PYTHON'
import array, json, sys

def read(path):
    data = open(path, "rb").read()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    values = array.array("f", data[8 + size:])
    return header, values

(header, values), (of_header, of), factor = read(sys.argv[1]), read(sys.argv[2]), float(sys.argv[3])
wrong = sum(x != y * factor and abs(x - y * factor) > 1.2e-38 for x, y in zip(values, of))
moved = sum(abs(y) > 1e-30 for y in of)
if header != of_header or len(values) != len(of) or wrong or moved < len(of) // 10:
    sys.exit(f"{sys.argv[1]}: {wrong} of {len(values)} values are not {factor} times those of {sys.argv[2]} ({moved} count)")
PYTHON
}

# An update that moves nothing (no learning rate, gradients clipped to nothing, and both betas 1/2, so that moments are
# halved exactly) shows what an engine read and wrote: here, then there.
unchanged() { # SCORER
    local from first second still=(--lr 0 --clip 1e-300 --beta1 0.5 --beta2 0.5)
    from=$(step_folder "home.$1" 4) first=$(step_folder "still.$1" 5) second=$(step_folder "still.$1" 6)
    resume "$device" "$from" --out "still.$1" --steps 5 --checkpoint-every 1 "${still[@]}" &&
        resume "$reference" "still.$1" --steps 6 || return 1
    for step in "$first" "$second"; do
        same "$step/model.safetensors" "$from/model.safetensors" || return 1
        [ "$1" != gla ] || same "$step/trainer/gates.safetensors" "$from/trainer/gates.safetensors" || return 1
    done
    scaled "$first/trainer/optimizer.safetensors" "$from/trainer/optimizer.safetensors" 0.5 &&
        scaled "$second/trainer/optimizer.safetensors" "$from/trainer/optimizer.safetensors" 0.25
}

# ---- Evaluation and sampling of the same checkpoint on both

nats() { # DEVICE MODEL ATTENTION
    local json
    json=$(output eval --device "$1" --model "$2" --attention "$3" --data 'data/val_*.bin') || return 1
    sed -n 's/.*"nats_per_target": \([0-9.]*\).*/\1/p' <<<"$json"
}

# Also against an earlier checkpoint, which must be told from this one.
evaluated() { # SCORER ATTENTION
    local here there earlier
    here=$(nats "$device" "home.$1" "$2") || return 1
    there=$(nats "$reference" "home.$1" "$2") || return 1
    earlier=$(nats "$device" "$(step_folder "home.$1" 10)" "$2") || return 1
    awk -v here="$here" -v there="$there" -v earlier="$earlier" 'BEGIN {
        d = here - there; if (d < 0) d = -d
        printf "%.5f and %.5f nats (%.5f two steps before)\n", here, there, earlier
        exit !(here > 0 && d <= 2e-3 && earlier - here > 4e-3) }'
}

# What Lighthouse alone has trained: no output before a changed token changes, by a bit, under dense attention; under
# Lighthouse some do, within the chunk, or the status would not be 0.
probed() { # SCORER
    local from dense ahead words=(eval --device "$device" --data 'data/val_*.bin' --val-batches 2 --probe-causality)
    from=$(step_folder "straight.$1" 4)
    dense=$(output "${words[@]}" --model "$from") && ahead=$(output "${words[@]}" --model "$from" --attention lighthouse) || return 1
    sed 's/.*\("changed_before".*"farthest": [0-9]*\).*/under Lighthouse \1/' <<<"$ahead"
    grep -q '"probes": 16, .*"changed_before": 0, .*"causal": true' <<<"$dense" &&
        grep -q '"changed_before": [1-9].*"causal": false' <<<"$ahead"
}

# Greedy: the same bytes from both; one that a rounding tips may end the agreement, but not soon.
sampled() {
    local here there common=0
    local words=(generate --model fluent --prompt 'the quick' --temperature 0 --max-bytes 96)
    train "$device" norm fluent --switch-at 90 --steps 140 --lr 1e-2 --schedule wsd --decay-steps 40 --checkpoint-every 0 || return 1
    here=$(output "${words[@]}" --device "$device") && there=$(output "${words[@]}" --device "$reference") || return 1
    while [ $common -lt ${#here} ] && [ "${here:common:1}" = "${there:common:1}" ]; do common=$((common + 1)); done
    echo "$common of ${#here} bytes the same: $(head -c 60 <<<"$here" | tr '\n' ' ')"
    [ $common -ge 41 ] && [ "$(fold -w 1 <<<"${here:0:common}" | sort -u | wc -l)" -ge 8 ]
}

# ---- Under compute-sanitizer

# racecheck looks at our kernels alone, by their names: those of cuDNN race by its rules. It takes a compute-sanitizer of
# CUDA 13.5 on the path: that of 13.0 breaks off ("failed to handle a hardware exception") where kernels are named.
sanitizer_options() {
    echo --tool "$tool" --error-exitcode 9
    [ "$tool" != racecheck ] || sed 's/^/--kernel-name kns=/' <<<"$our_kernels"
}

sanitized() { # NAME COMMAND...: passes with a summary of no error
    local log="$tool.$1.log" status summary
    # shellcheck disable=SC2046
    compute-sanitizer $(sanitizer_options) "$program" "${@:2}" >"$log" 2>&1
    status=$?
    summary=$(grep -E '(ERROR|RACECHECK) SUMMARY' "$log" | sed 's/^=* *//')
    echo "${summary:-no summary}, status $status"
    [ $status -eq 0 ] && grep -qE 'SUMMARY: 0 (errors|hazards)' <<<"$summary" && return 0
    grep '^==' "$log" | grep -oE '[A-Za-z_0-9]*(kernel|Kernel|nvjet|cudnn)[A-Za-z_0-9]*' | sort | uniq -c | sort -rn | head -n 8 |
        awk '{ printf "%s %s (%d lines)", (NR > 1 ? "," : ""), $2, $1 }'
    grep -m 3 -iE '^=+ .*(error|race|hazard).* at ' "$log" | cut -c 1-300
    return 1
}

# Two updates, one of each stage; then the kernels that only evaluation and sampling have.
sanitize() {
    local small=(--batch 1 --global-batch 2 --steps 2 --switch-at 1)
    for scorer in norm dilated gla; do
        # shellcheck disable=SC2046
        check "$tool: train, $scorer" sanitized "$scorer" train --config recipe.json --device "$device" \
            --out "$scorer" $(shape $scorer) "${small[@]}"
    done
    # shellcheck disable=SC2046
    check "$tool: recomputation, deterministic" sanitized block train --config recipe.json --device "$device" \
        --out block $(shape norm) "${small[@]}" --recompute block --deterministic
    check "$tool: eval" sanitized eval eval --device "$device" --model norm --attention lighthouse --val-batches 1 \
        --data 'data/val_*.bin'
    check "$tool: generate" sanitized generate generate --device "$device" --model norm --prompt 'the quick' --max-bytes 8
}

# ---- All of it

check "pack" make_data
if [ -n "$tool" ]; then
    command -v compute-sanitizer >/dev/null || { echo "--sanitize needs compute-sanitizer of the CUDA toolkit" >&2; exit 2; }
    sanitize
else
    for scorer in norm dilated gla; do
        check "$scorer: trains in both stages" straight $scorer
        check "$scorer: resumed, the same bits" resumed $scorer
        check "$scorer: --recompute block, the same bits" recomputed $scorer
        check "$scorer: $reference to $device to $reference, losses" between $scorer
        check "$scorer: $reference to $device to $reference, tensors" unchanged $scorer
        check "$scorer: dense evaluation" evaluated $scorer dense
        check "$scorer: Lighthouse evaluation" evaluated $scorer lighthouse
        check "$scorer: causal under dense attention" probed $scorer
    done
    [ "$device" = cpu ] || check "norm: --offload optimizer, off and all, the same bits" offloaded
    check "stopped by SIGTERM and resumed, the same bits" signalled
    check "greedy sampling" sampled
fi
[ $failed -eq 0 ] || echo "$failed failed"
echo "$passed passed"
[ $failed -eq 0 ]
