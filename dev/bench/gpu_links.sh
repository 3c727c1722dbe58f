#!/usr/bin/env bash
# Links between two GPUs of this machine, as they are and as those between hosts would be: with NCCL_P2P_DISABLE=1 and
# NCCL_SHM_DISABLE=1 ranks talk over sockets. Both ways `info --links`, steps of `bench step` on sequences of their own and on
# slices (--cp 2), `info --links` once more, and the step that `train --dry-run --links` predicts of both measurements; then a rank
# that is stopped over sockets, which ends all with status 6. Tables come last; status 1 where a prediction is off by more than a
# tenth, or the watchdog did not end the job. In five minutes.
#   gpu_links.sh [BUILD] [FOLDER]    rows go to FOLDER, a new one where it is not given
# DEVICE=cpu PRESET=tiny OPTIONS="--seq-len 512 --levels 2 --topk 256 --dense-layers 0" exercises the script where no GPU is:
# there nothing is predicted.   NCCL_SOCKET_IFNAME=lo unless it is given.
set -euo pipefail
export LC_ALL=C
build=${1:-build} out=${2:-$(mktemp -d)} device=${DEVICE:-cuda} preset=${PRESET:-530m}
program=$(realpath "$build/train_gpt_lighthouse")
[ -x "$program" ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
IFS=' ' read -ra options <<<"${OPTIONS:-}"
mkdir -p "$out"
# shellcheck source=scripts/launcher.sh
source "$(dirname "$0")/../../scripts/launcher.sh"
cd "$out"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} NCCL_NVLS_ENABLE=${NCCL_NVLS_ENABLE:-0}
ranks=(mpirun -np 2 "$program")
sockets=(env NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 NCCL_NET=Socket "NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-lo}")
way() { [ "$1" = plain ] || echo "${sockets[@]}"; }
model=(--preset "$preset" "${options[@]}")

# ---- Measures

# What NCCL tells of its connections, of each command and process, goes to files of their own.
told() { env NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=INIT,NET,TUNING "NCCL_DEBUG_FILE=$PWD/nccl.$1.%p.txt" "${@:2}"; }
links() { # WAY TIME
    echo "== links, $1, time $2" >&2
    # shellcheck disable=SC2046 # words
    told "links.$1.$2" $(way "$1") "${ranks[@]}" info --links --device "$device" >"links.$1.$2.jsonl"
}
# Milliseconds of a Lighthouse step of two ranks.
step() { # WAY CP
    echo "== bench step, $1, --cp $2" >&2
    # shellcheck disable=SC2046 # words
    told "step.$1.$2" $(way "$1") "${ranks[@]}" bench step "${model[@]}" --device "$device" --attention lighthouse --cp "$2" \
        --warmup 2 --repeats 3 >"step.$1.$2.jsonl"
    ms_of step "step.$1.$2.jsonl"
}
ms_of() { sed -n "s/.*\"name\": \"$1\".* \"ms\": \([^,}]*\).*/\1/p" "$2"; } # ROW FILE
# What a part of the step took where parts are told apart, of both ways.
part_row() { # PART CP
    printf '| --cp %d, %s | %s | %s |\n' "$2" "$1" "$(ms_of "$1" "step.plain.$2.jsonl")" "$(ms_of "$1" "step.sockets.$2.jsonl")"
}
# Milliseconds predicted, and of these the waiting.
predicted() { # WAY CP
    "$program" train --dry-run "${model[@]}" --ranks 2 --ranks-per-host 2 --cp "$2" --global-batch $((2 / $2)) \
        --links "links.$1.jsonl" >"plan.$1.$2.txt"
    sed -n '/^  lighthouse  [0-9.]* s an update/{s/^  lighthouse  \([0-9.]*\) s.*/\1/p;n
        s/.*waiting for other ranks \([0-9.]*\).*/\1/p}' "plan.$1.$2.txt" | paste -sd ' ' | awk '{ print $1 * 1e3, $2 }'
}

# ---- A rank that is stopped

# Sets `status` and `said`.
stopped() {
    local job rank i
    seq 1 20000 >text.txt
    "$program" pack text.txt --out data --val-fraction 0 >pack.txt 2>&1
    "${sockets[@]}" timeout 100 "${ranks[@]}" train --preset tiny --data 'data/train_*.bin' --device "$device" --seq-len 512 --levels 2 \
        --topk 256 --global-batch 4 --steps 1000000 --checkpoint-every 0 --val-every 0 --watchdog 8 --out stopped >console.txt 2>&1 &
    job=$!
    for ((i = 0; i < 600; i++)); do
        [ "$({ cat stopped/log.jsonl 2>/dev/null || true; } | grep -c '"tok_per_s"')" -lt 3 ] || break
        kill -0 "$job" 2>/dev/null || break
        sleep 0.1
    done
    rank=$(pgrep -f "^$program train .*--out stopped" | tail -n 1)
    status=0
    [ -z "$rank" ] || kill -STOP "$rank"
    wait "$job" || status=$?
    [ -z "$rank" ] || kill -KILL "$rank" 2>/dev/null || true
    said=$(grep 'train_gpt_lighthouse: error' console.txt || tail -n 3 console.txt)
}

# ---- All of it

bad=0
for way in plain sockets; do links $way 1; done
for cp in 1 2; do for way in plain sockets; do step $way $cp >"ms.$way.$cp"; done; done
for way in plain sockets; do
    links $way 2
    cat links.$way.[12].jsonl >links.$way.jsonl
done
rows=()
for cp in 1 2; do
    plain=$(cat ms.plain.$cp) slow=$(cat ms.sockets.$cp)
    if [ "$device" = cuda ]; then
        # What this GPU computes may be faster or slower than the prediction's H200: held to what the links add, too.
        line=$(echo "$plain $slow $(predicted plain $cp) $(predicted sockets $cp)" | awk -v cp=$cp '{
            here = $1 - $4 + $6
            printf "| --cp %d | %.1f | %.1f | %.1f | %.1f | %.1f | %+.1f %% | %.1f | %+.1f %% |", cp, $1, $3, $2, $5, $6,
                100 * ($5 / $2 - 1), here, 100 * (here / $2 - 1)
            exit here / $2 > 1.1 || here / $2 < 0.9 }') || bad=1
    else
        line="| --cp $cp | $plain | | $slow | | | | | |"
    fi
    rows+=("$line")
done
stopped
case $status:$said in 6:*"rank "*" on "*hangs*) ;; *) bad=1 ;; esac

echo
[ "$device" != cuda ] || nvidia-smi --query-gpu=name --format=csv,noheader | sort | uniq -c
echo "| among 2 ranks, the largest of each, before the steps and after, GB/s | as it is | over sockets |"
echo "| --- | ---: | ---: |"
for name in all-reduce all-to-all; do
    printf '| %s |' $name
    for way in plain sockets; do
        for time in 1 2; do
            sed -n "/\"name\": \"$name\"/s/.*\"gb_per_s\": \([0-9.e+-]*\), \"assumed.*/\1/p" links.$way.$time.jsonl | tail -n 1
        done | paste -sd ' ' | awk '{ printf " %.2f, %.2f |", $1, $2 }'
    done
    echo
done
echo
echo "| parts of a step, ms | as it is | over sockets |"
echo "| --- | ---: | ---: |"
for cp in 1 2; do
    for part in "matrix products" "dense attention" "Lighthouse attention" elementwise "head and loss" optimizer "waiting for other ranks" \
        other; do part_row "$part" $cp; done
done
echo
echo "| Lighthouse step of $preset, ms | plain | predicted | over sockets | predicted | of it waiting | off | plain + added waiting | off |"
echo "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
printf '%s\n' "${rows[@]}"
echo
echo "a rank is stopped over sockets: status $status; $said"
exit $bad
