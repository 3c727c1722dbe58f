#!/usr/bin/env bash
# scripts/reproduce_split.sh, killed at random moments and behind random updates, and started again until it is done, ends in
# the same bits as one that nobody stopped.   restart_split.sh DATA [SEED]      DATA: a folder of shards, as pack writes it
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: restart_split.sh DATA [SEED]" >&2; exit 2; }
cd "$(dirname "$0")/../.."
data=$1 seed=${2:-$(date +%s)}
folder=$(mktemp -d)
# A child that a signal ends before it has become another program would run this, too.
trap '[ $BASHPID -ne $$ ] || rm -rf "$folder"' EXIT
echo "restart_split: seed $seed"
RANDOM=$seed

steps=32
hold_shim=$(realpath "${BUILD:-build}/hold_shim.so")
# In place of the shell that calls it, so that a signal to that is one to the script.
split() {
    exec scripts/reproduce_split.sh "$folder/$1" --preset tiny --steps "$2" --device cpu --data "$data/train_*.bin" --val "$data/val_*.bin" \
        -- --layers 2 --seq-len 1024 --topk 128 --dense-layers 0 --val-every 1000 --val-batches 2 --checkpoint-every 3
}
fail() {
    echo "restart_split: $*" >&2
    tail -n 20 "$folder"/*.console >&2
    exit 1
}

began=$(date +%s%N)
(split whole $steps >"$folder/whole.console" 2>&1) || fail "a split that nobody stopped ended with status $?"
longest=$((($(date +%s%N) - began) / 3000000)) # milliseconds that a start is left alone
grep '^| ' "$folder/whole/table.md"

# What the next start runs stands still behind its update STEP (dev/test/support/hold_shim.c), until it heeds a signal or is told.
hold() { # STEP
    export HOLD_FILE=$held HOLD_TILL=signal HOLD_LINE="{\"step\":$1," LD_PRELOAD=$hold_shim
}
# The first three surely come in the midst of the first run, and three more in that of the second, on any machine. A run that
# its script leaves behind goes on to its end, so only the third and the sixth start leave one.
held_at() { # START
    if [ "$1" -le 6 ]; then echo $((8 + ($1 - 1) % 3 * 8)); else echo $((RANDOM % steps + 1)); fi
}
manner() { # START: what ends it
    if [ "$1" -gt 6 ]; then echo $((RANDOM % 3)); elif [ $(($1 % 3)) -eq 0 ]; then echo 1; else echo $((RANDOM % 2 * 2)); fi
}
over() { ! kill -0 "$script" 2>/dev/null; }
await_held() { until [ -e "$held" ] || over; do sleep 0.02; done; }

killed=0 status=1
for ((start = 1; status != 0; start++)); do
    [ $start -le 200 ] || fail "not done after $start starts"
    held=$folder/held.$start # its own: a run whose script was killed goes on, and may stand still behind the same update
    step=$(held_at "$start") pause=$((RANDOM % longest))
    if [ "$start" -le 6 ] || [ $((RANDOM % 2)) -eq 0 ]; then
        (hold "$step"; split broken $steps) >>"$folder/broken.console" 2>&1 &
        script=$!
        await_held
    else
        split broken $steps >>"$folder/broken.console" 2>&1 &
        script=$!
        sleep "$((pause / 1000)).$(printf %03d $((pause % 1000)))"
    fi
    run=() # what the script has started
    read -ra run 2>/dev/null <"/proc/$script/task/$script/children" || true
    case $(manner "$start") in
    0) signal=TERM; kill -TERM $script 2>/dev/null || true ;;
    1) signal=KILL; kill -KILL $script 2>/dev/null || true ;; # the run goes on without its script
    2) signal=KILL; kill -KILL $script "${run[@]}" 2>/dev/null || true ;;
    esac
    [ "$signal" = TERM ] || rm -f "$held" # a run without its script goes on
    status=0
    { wait $script || status=$?; } 2>/dev/null
    case $signal$status in
    *0) ;;
    TERM75 | TERM143 | KILL137) killed=$((killed + 1)) ;; # 143: before the script caught signals
    *) fail "start $start ended with status $status after SIG$signal" ;;
    esac
done
[ $killed -ge 6 ] || fail "only $killed of $start starts were killed: that shows nothing"

same() { cmp "$folder/whole/$1" "$folder/broken/$1" || fail "$1 differs"; }
# Steps and validations without what they took.
curves() { sed -n -e 's/,"tok_per_s".*//p' -e '/"validation"/s/,"seconds".*//p' "$folder/$1/log.jsonl"; }
for run in dense lighthouse split_10_16 split_11_16 split_12_16; do
    last=$steps
    [ $run != lighthouse ] || last=$((steps * 12 / 16))
    last=$(printf 'step_%08d' "$last")
    same "$run/$last/model.safetensors"
    same "$run/$last/trainer/optimizer.safetensors"
    diff <(curves "whole/$run") <(curves "broken/$run") || fail "the log of $run differs"
done
[ "$(cut -d'|' -f2,3,8-13 "$folder/whole/table.md")" = "$(cut -d'|' -f2,3,8-13 "$folder/broken/table.md")" ] ||
    fail "the tables differ"

if (split whole 48 >"$folder/other.console" 2>&1); then fail "other settings went on in the same folder"; fi
grep -q 'was begun with other settings' "$folder/other.console" || fail "other settings were refused with other words"
echo "restart_split: the same bits after $killed of $((start - 1)) starts were killed"
