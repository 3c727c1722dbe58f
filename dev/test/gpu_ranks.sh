#!/usr/bin/env bash
# Many ranks on the GPUs of this machine: what crosses between them, engines of several ranks against one, whole runs, and
# ranks that die or hang. One line a check, "N passed" last; status 1 when one failed.
#   gpu_ranks.sh [BUILD] [--device cuda]    as many ranks as there are GPUs, up to 4; a check that needs more is left out
# `--device cpu --ranks 4` exercises the checks themselves where no GPU is (with BUILD/rank_worker). --keep FOLDER works
# there (a new folder) and leaves all runs and consoles behind. mpirun must be on the path.
set -u
export LC_ALL=C

usage() { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }

build=build device=cuda ranks="" work=""
while [ $# -gt 0 ]; do
    case $1 in
    --device | --ranks | --keep) [ $# -gt 1 ] || usage ;;&
    --device) device=$2 && shift 2 ;;
    --ranks) ranks=$2 && shift 2 ;;
    --keep) work=$2 && shift 2 ;;
    -*) usage ;;
    *) build=$1 && shift ;;
    esac
done
mpirun=$(realpath "$(dirname "$0")/support/mpirun.sh")
program=$(realpath "$build/train_gpt_lighthouse")
worker=$(realpath "$build/$([ "$device" = cuda ] && echo test_gpu_ranks || echo rank_worker)")
[ -x "$program" ] && [ -x "$worker" ] || usage
gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | wc -l)
[ -n "$ranks" ] || ranks=$gpus
if [ -n "$work" ]; then
    mkdir "$work" || exit 2
else
    work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
fi
cd "$work" || exit 1

# Without NVLink's multicast.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} NCCL_NVLS_ENABLE=${NCCL_NVLS_ENABLE:-0}

# ---- Checks: functions that end with status 0, or say why not.

passed=0 failed=0 left_out=0
check() { # RANKS NAME FUNCTION [WORD...]
    local needs=$1 name=$2 said start
    shift 2
    [ "$needs" -le "$ranks" ] || { left_out=$((left_out + 1)) && return; }
    start=$(date +%s)
    if said=$("$@" 2>&1); then
        passed=$((passed + 1)) && echo "PASS $name${said:+: $said} ($(($(date +%s) - start)) s)"
    else
        failed=$((failed + 1)) && echo "FAIL $name: $said ($(($(date +%s) - start)) s)"
    fi
}

# What the program says of itself, without what mpirun adds.
own_words() { grep 'train_gpt_lighthouse: error' "$1" || tail -n 3 "$1"; }

# Runs the program on W ranks, its console kept in calls.log; its output alone goes to standard output.
output() { # W WORD...
    local launcher=("$mpirun" -np "$1")
    [ "$1" -gt 1 ] || launcher=()
    echo "\$ -np $*" >>calls.log
    timeout 300 "${launcher[@]}" "$program" "${@:2}" 2>errors.log || {
        echo "-np $*: status $?: $(own_words errors.log)" >&2
        return 1
    }
}
call() { output "$@" >>calls.log; }

works() { # W SCENARIO [P]: the worker's figures in one line
    mkdir -p "worker.$1" && (cd "worker.$1" && timeout 300 "$mpirun" -np "$1" "$worker" "${@:2}") >worker.log 2>worker.err || {
        echo "status $?: $(own_words worker.err) $(tr '\n' ';' <worker.log)"
        return 1
    }
    sed '$d; s/ at most//' worker.log | paste -sd ';' | sed 's/;/; /g'
}

equal() { [ "$1" = "$2" ] || { echo "$3: '$1', not '$2'"; return 1; }; }
same() { cmp -s "$1" "$2" || { echo "$1 and $2 are not the same"; return 1; }; }
step_folder() { printf '%s/step_%08d' "$1" "$2"; }
same_checkpoint() { # RUN OTHER STEP
    local file
    for file in model.safetensors trainer/optimizer.safetensors; do
        same "$(step_folder "$1" "$3")/$file" "$(step_folder "$2" "$3")/$file" || return 1
    done
}

steps_of() { sed -n 's/^{"step":.*"loss":\([^,]*\),"grad_norm":\([^,]*\),.*"tok_per_s".*/\1 \2/p' "$1/log.jsonl"; }

# Largest relative differences of losses and gradient norms of two runs; fails above the bounds.
runs_agree() { # RUN OTHER COUNT LOSS_BOUND NORM_BOUND
    paste -d ' ' <(steps_of "$1") <(steps_of "$2") | awk -v count="$3" -v bound="$4" -v norm_bound="$5" '
        function off(a, b) { return a > b ? (a - b) / b : (b - a) / b }
        NF != 4 || $1 + 0 <= 0 || $3 + 0 <= 0 { print "a loss is missing"; bad = 1; exit 1 }
        { d = off($1, $3); if (d > loss) loss = d; d = off($2, $4); if (d > norm) norm = d }
        END {
            if (bad) exit 1
            printf "losses off by %.1e, norms by %.1e over %d steps", loss, norm, NR
            exit !(NR == count && loss <= bound && norm <= norm_bound)
        }'
}

# ---- Data and model

make_data() {
    mkdir text && for i in $(seq 40); do
        awk -v seed="$i" 'BEGIN { for (i = 0; i < 60; i++)
            printf "%d the quick brown fox jumps over the lazy dog and runs away.\n", (seed * 37 + i * 11) % 1000 }' \
            >"text/$i.txt"
    done
    call 1 pack text --out data --val-fraction 0.2
}

cat >recipe.json <<'JSON'
{"settings": {"data": "data/train_*.bin", "val": "data/val_*.bin", "layers": 3, "dim": 64, "heads": 4, "kv-heads": 4,
    "head-dim": 64, "ffn": 128, "vocab": 264, "dense-layers": "0", "seq-len": 4096, "levels": 3, "pool": 2, "topk": 512,
    "batch": 1, "global-batch": 4, "lr": 3e-3, "warmup": 4, "val-every": 6, "val-batches": 3, "checkpoint-every": 0}}
JSON
train() { # W OUT [OPTION...]
    call "$1" train --config recipe.json --device "$device" --deterministic --out "$2" "${@:3}"
}
resume() { # W RUN [OPTION...]
    call "$1" train --device "$device" --resume "${@:2}"
}

# ---- Runs

validation() { sed -n 's/.*"event":"validation".*"loss":\([^,]*\),.*/\1/p' "$1/log.jsonl" | tail -n 1; }

one_rank() { train 1 one --steps 6 --switch-at 4 && runs_agree one one 6 0 0; }

# Six steps of both stages, on W ranks against one; float32 sums in another order, and on the GPU what follows from that
# in bf16.
alike() { # W NAME [OPTION...]
    train "$1" "$2" --steps 6 --switch-at 4 "${@:3}" && runs_agree "$2" one 6 2e-3 5e-2 &&
        awk -v a="$(validation "$2")" -v b="$(validation one)" 'BEGIN {
            d = a > b ? (a - b) / b : (b - a) / b; printf ", validation by %.1e", d; exit !(a > 0 && d <= 2e-3) }'
}

# A checkpoint of any number of ranks goes on on any other.
resumed() { # NAME W...: one step on each
    local name=$1 step=1
    shift
    train "$1" "$name" --steps 1 --checkpoint-every 1 || return 1
    for w in "${@:2}"; do
        step=$((step + 1))
        resume "$w" "$name" --steps $step || return 1
    done
    train 1 "$name.alone" --steps $step && runs_agree "$name" "$name.alone" $step 2e-3 5e-2 &&
        call 1 info "$name" --verify
}

# What a checkpoint holds does not depend on the ranks that wrote it: an update that moves nothing.
unchanged() { # W
    local from=fixed.$1/step_00000001 to=fixed.$1/step_00000002
    train 1 "fixed.$1" --steps 1 && resume "$1" "fixed.$1" --steps 2 --lr 0 --clip 1e-300 --beta1 0.5 --beta2 0.5 &&
        same $to/model.safetensors $from/model.safetensors
}

same_bits() { # W NAME [OPTION...]
    train "$1" "$2.whole" --steps 4 "${@:3}" && train "$1" "$2.parts" --steps 2 "${@:3}" &&
        resume "$1" "$2.parts" --steps 4 && same_checkpoint "$2.whole" "$2.parts" 4
}

# Slices of sequences under another scorer, against one rank.
scored() { # W SCORER
    train 1 "$2.one" --steps 2 --scorer "$2" && train "$1" "$2.cp" --steps 2 --scorer "$2" --cp "$1" &&
        runs_agree "$2.cp" "$2.one" 2 2e-3 5e-2
}

# More ranks of a sequence than key/value heads, against one rank: some attend with copies of the same one.
few_key_heads() { # W KV
    local shape=(--steps 4 --switch-at 3 --seq-len 2048 --kv-heads "$2")
    train 1 "kv.$1.$2.one" "${shape[@]}" && train "$1" "kv.$1.$2" "${shape[@]}" --cp "$1" &&
        runs_agree "kv.$1.$2" "kv.$1.$2.one" 4 2e-3 5e-2
}

# Ranks that keep their shares of the gradients alone: the same bits in one micro-step an update, also where a run changes.
same_shares() { # W NAME [OPTION...]
    train "$1" "$2.kept" --steps 3 --global-batch "$1" "${@:3}" &&
        train "$1" "$2.shares" --steps 1 --global-batch "$1" --zero 2 "${@:3}" && resume "$1" "$2.shares" --steps 2 &&
        resume "$1" "$2.shares" --steps 3 --zero 1 && same_checkpoint "$2.kept" "$2.shares" 3
}

nats() { # W [OPTION...]
    output "$1" eval --device "$device" --model one --data 'data/val_*.bin' "${@:2}" |
        sed -n 's/.*"nats_per_target": \([0-9.e-]*\).*/\1/p'
}
evaluated() { # W ATTENTION [OPTION...]
    local here there
    here=$(nats "$1" --attention "$2" "${@:3}") && there=$(nats 1 --attention "$2") || return 1
    awk -v here="$here" -v there="$there" 'BEGIN {
        d = here > there ? here - there : there - here
        printf "%s and %s nats", here, there; exit !(here > 0 && d <= 1e-4 * there) }'
}

# A changed token changes no output before it, in slices too. Under Lighthouse the probe finds what one rank finds.
found() { sed 's/.*\("changed_before".*\)"largest.*/\1/'; }
probed() { # W [OPTION...]
    local words=(eval --device "$device" --model one --data 'data/val_*.bin' --probe-causality) alone shared
    output "$1" "${words[@]}" "${@:2}" | grep -q '"changed_before": 0, .*"causal": true' || { echo "not causal"; return 1; }
    alone=$(output 1 "${words[@]}" --attention lighthouse | found) || return 1
    shared=$(output "$1" "${words[@]}" --attention lighthouse "${@:2}" | found) || return 1
    echo "$alone" && equal "$shared" "$alone" "what a change reaches"
}

# ---- Trouble

# Ends with a status, and with one message of the program that holds a text.
ends() { # STATUS TEXT W WORD...
    local status
    timeout 120 "$mpirun" -np "$3" "$program" "${@:4}" >>calls.log 2>errors.log
    status=$?
    equal $status "$1" "status" || { own_words errors.log; return 1; }
    equal "$(grep -c 'train_gpt_lighthouse: error' errors.log)" 1 "messages" || { own_words errors.log; return 1; }
    own_words errors.log
    grep -q -e "$2" errors.log
}

poison() { # MODEL OUT TENSOR: a model folder with a NaN in one tensor
    cp -r "$1" "$2" && python3 - "$2/model.safetensors" "$3" <<'PYTHON'
import json, struct, sys
with open(sys.argv[1], "r+b") as file:
    size = struct.unpack("<Q", file.read(8))[0]
    begin = json.loads(file.read(size))[sys.argv[2]]["data_offsets"][0]
    file.seek(8 + size + begin)
    file.write(struct.pack("<f", float("nan")))
PYTHON
}
not_finite() {
    train 1 first --steps 1 && poison first/step_00000001 poisoned model.layers.1.self_attn.q_proj.weight &&
        rm -r poisoned/trainer && # a plain model has no hashes, which would tell
        ends 5 'the first output that is not finite is that of layer 1' 2 train --config recipe.json \
            --device "$device" --init poisoned --out not_finite --steps 2
}

# Ranks of a run that are there, in the order of their numbers.
ranks_of() { # RUN
    local folder
    for folder in /proc/[0-9]*; do
        [ "$(readlink "$folder/exe")" = "$program" ] && tr '\0' ' ' <"$folder/cmdline" 2>/dev/null | grep -q -e "--out $1 " &&
            echo "${folder#/proc/}"
    done | sort -n
}

# A rank of a run gets a signal; the others end the job.
signalled() { # SIGNAL TEXT W [OPTION...]
    local pid start seconds rank status
    timeout 300 "$mpirun" -np "$3" "$program" train --config recipe.json --device "$device" --out "signalled.$1" \
        --steps 1000000 --val-every 0 "${@:4}" >>calls.log 2>errors.log &
    pid=$!
    for _ in $(seq 1200); do
        [ -e "signalled.$1/log.jsonl" ] && [ "$(steps_of "signalled.$1" | wc -l)" -ge 3 ] && break
        sleep 0.1
    done
    rank=$(ranks_of "signalled.$1" | tail -n 1)
    [ -n "$rank" ] || { echo "it does not run: $(own_words errors.log)"; wait $pid; return 1; }
    start=$(date +%s%N)
    kill "-$1" "$rank"
    wait $pid
    status=$?
    seconds=$((($(date +%s%N) - start) / 1000000000))
    own_words errors.log | head -n 2
    echo "after $seconds s"
    [ $status -ne 0 ] && [ $status -ne 124 ] && [ $seconds -lt 60 ] && grep -q -e "$2" errors.log &&
        [ -z "$(ranks_of "signalled.$1")" ]
}

too_many() {
    ends 2 "start at most $gpus ranks a host" $((gpus + 1)) train --config recipe.json --device cuda --out too_many --steps 1 \
        --global-batch $((gpus + 1))
}
one_gpu() {
    export CUDA_VISIBLE_DEVICES=0
    ends 2 'have the same GPU' 2 train --config recipe.json --device cuda --out one_gpu --steps 1
}
worker_ends() { # TEXT W SCENARIO
    timeout 120 "$mpirun" -np "$2" "$worker" "$3" >worker.log 2>worker.err
    local status=$?
    own_words worker.err
    [ $status -ne 0 ] && [ $status -ne 124 ] && grep -q -e "$1" worker.err
}

# ---- All of it

[ "$device" = cpu ] || nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | sort | uniq -c
for w in 2 4; do
    check $w "$w ranks: what crosses between them" works $w interface
    check $w "$w ranks: gradients, ten updates" works $w data
    check $w "$w ranks: shares of gradients" works $w shares
    check $w "$w ranks: checkpoints" works $w checkpoint
done
check 2 "2 ranks a sequence: shares of gradients" works 2 shares 2
check 4 "4 ranks, 2 a sequence: shares of gradients" works 4 shares 2
check 4 "4 ranks, 2 a sequence: what crosses between them" works 4 interface 2
check 2 "2 ranks a sequence: one step" works 2 context 2
check 4 "4 ranks a sequence: one step" works 4 context 4
check 4 "4 ranks, 2 a sequence: one step" works 4 context 2
check 2 "2 ranks: one hangs in an update" worker_ends 'step 7: rank 1 on .* hangs' 2 update-hangs
check 2 "2 ranks: one dies in an update" worker_ends 'step 3: rank 1 on ' 2 update-dies
check 1 "data" make_data
check 1 "1 rank: a run" one_rank
for w in 2 4; do
    check $w "$w ranks: the same run" alike $w "ranks.$w"
    check $w "$w ranks: recomputation" alike $w "block.$w" --recompute block
    check $w "$w ranks: shares of gradients, micro-steps" alike $w "zero.$w" --zero 2
    check $w "$w ranks: shares of gradients, the same bits" same_shares $w "share.$w"
    check $w "$w ranks: shares of gradients, tied, recomputed" same_shares $w "tied.$w" --tie-embeddings --recompute block
    check $w "$w ranks: an update that moves nothing" unchanged $w
    check $w "$w ranks: stopped and resumed, the same bits" same_bits $w data.$w
    check $w "$w ranks: dense evaluation" evaluated $w dense
    check $w "$w ranks: Lighthouse evaluation" evaluated $w lighthouse
done
check 2 "2 ranks a sequence: the same run" alike 2 cp.2 --cp 2
for scorer in dilated gla; do
    check 2 "2 ranks a sequence: $scorer" scored 2 $scorer
done
check 2 "2 ranks a sequence: recomputation" alike 2 cp.2.block --cp 2 --recompute block
check 2 "2 ranks a sequence: shares of gradients" alike 2 cp.2.zero --cp 2 --zero 2
check 2 "2 ranks a sequence: stopped and resumed, the same bits" same_bits 2 slices --cp 2
check 2 "2 ranks a sequence: dense evaluation" evaluated 2 dense --cp 2
check 2 "2 ranks a sequence: Lighthouse evaluation" evaluated 2 lighthouse --cp 2
check 2 "2 ranks a sequence: causal under dense attention" probed 2 --cp 2
check 2 "2 ranks a sequence, one key/value head: the same run" few_key_heads 2 1
check 4 "4 ranks a sequence: the same run" alike 4 cp.4 --cp 4
check 4 "4 ranks a sequence, two key/value heads: the same run" few_key_heads 4 2
check 4 "4 ranks, 2 a sequence: the same run" alike 4 cp.2.2 --cp 2
check 2 "checkpoints: 1, 2, 1 ranks" resumed passed 1 2 1
check 4 "checkpoints: 2, 4, 1 ranks" resumed passed.4 2 4 1
check 2 "2 ranks: a loss that is not finite" not_finite
check 2 "2 ranks: one is killed" signalled KILL 'rank [0-9]* on .* died' 2
check 2 "2 ranks: one is stopped" signalled STOP 'rank [0-9]* on .* hangs' 2 --watchdog 10
if [ "$device" = cuda ]; then
    check 2 "more ranks than GPUs" too_many
    check 1 "two ranks with one GPU" one_gpu
fi
[ $left_out -eq 0 ] || echo "$left_out left out: they need more than $ranks GPUs"
[ $failed -eq 0 ] || echo "$failed failed"
echo "$passed passed"
[ $failed -eq 0 ]
