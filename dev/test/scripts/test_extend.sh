#!/usr/bin/env bash
# scripts/extend_context.sh on a tiny model: its stages, one after the other and stopped between them, what comes out, and what
# is refused.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work
export OMP_NUM_THREADS=1
small=(-- --topk 128 --levels 2 --pool 2 --dense-layers 0 --global-batch 1 --lr 1e-3 --warmup 0 --val-every 0)
short=(--lighthouse-steps 2 --dense-steps 2 --sequences 2 --device cpu)

make_model() {
    mkdir texts
    for i in {1..20}; do seq $((i * 100)) $((i * 100 + 400)) >"texts/$i.txt"; done
    {
        "$program" pack texts --out data --val-fraction 0.2
        "$program" train --preset tiny --layers 2 --dim 64 --ffn 64 --seq-len 512 --attention dense --global-batch 1 --warmup 0 \
            --data 'data/train_*.bin' --out base --steps 3 --device cpu
        "$program" export --model base --out model
    } >console 2>&1 || { fail "no model"; cat console >&2; }
}
extend() { "$root/scripts/extend_context.sh" model data "$@" --program "$program" "${short[@]}" "${more[@]}" >out.log 2>err.log; }
# It ends with this status and says this.
expect() { # STATUS PART OUT OPTION...
    local status=0 wanted=$1 part=$2
    shift 2
    extend "$@" || status=$?
    [ $status -eq "$wanted" ] && grep -qF -- "$part" out.log err.log && return
    fail "status $status, not $wanted with \"$part\": $*"
    cat out.log err.log >&2
}
# The attention that the run's updates were under.
stages() { sed -n 's/^{"step".*"attention":"\([a-z]\)[a-z]*".*/\1/p' "$1/run/log.jsonl" | tr -d '\n'; }
theta() { sed -n 's/^  "rope_theta": \([0-9.]*\).*/\1/p' "$1/run/step_$2/config.json"; }

test_stages() {
    local more=("${small[@]}")
    make_model
    expect 0 "extended to 1024 tokens: whole/run/step_00000005" whole --to 1024 --rope-theta 50000 --warmup-steps 1
    [ "$(stages whole)" = dlldd ] || fail "stages $(stages whole)"
    [ "$(theta whole 00000005)" = 50000.0 ] || fail "theta $(theta whole 00000005)"
    grep -q '"max_position_embeddings": 1024' whole/run/step_00000005/config.json || fail "another context"
    grep -q '"seq_len": 1024.*"last_tenth"' whole/before.json || fail "no losses before"
    grep -q 'Loss by position' whole/report.svg || fail "report.svg draws no losses by position"
    grep -q '^| nats a target, positions up to | before | after |$' whole/table.md || fail "no table of positions"
    grep -q '^| 1024 | [0-9.]* | [0-9.]* |$' whole/table.md || fail "no row of the last band"
    cp whole/run/log.jsonl log
    expect 0 "extended to 1024 tokens" whole --to 1024 --rope-theta 50000 --warmup-steps 1
    cmp log whole/run/log.jsonl || fail "what was done is done again"
}

# A stage that fails is gone on with: the same bits.
test_goes_on() {
    local more=("${small[@]}") real=$program
    cat >stopping <<STOP
#!/usr/bin/env bash
if [ "\$1" = train ] && [[ " \$* " = *" --stop-at 5 "* ]]; then exit 75; fi
exec $real "\$@"
STOP
    chmod +x stopping
    program=$PWD/stopping expect 75 "== dense tail" parted --to 1024 --rope-theta 50000 --warmup-steps 1
    [ "$(stages parted)" = dll ] || fail "stages $(stages parted)"
    expect 2 "was begun with other settings" parted --to 2048 --rope-theta 50000 --warmup-steps 1
    cp -r parted/run/step_00000003 "parted/run/step_00000003 (copy)"
    expect 0 "extended to 1024" parted --to 1024 --rope-theta 50000 --warmup-steps 1
    cmp whole/run/step_00000005/model.safetensors parted/run/step_00000005/model.safetensors || fail "other weights"
}

# before.json is of the model and of the shards that are there: others make it anew, and are refused behind the run's first update.
test_bound() {
    local more=("${small[@]}") real=$program shard=data/val_00000.bin weights=model/model.safetensors
    cp $shard shard
    cp $weights weights
    "$program" pack texts --out other --val-fraction 0.4 --seed 2 >console 2>&1 || fail "no other shards"
    cp other/val_00000.bin $shard
    expect 2 "$shard is not what it was when whole/before.json was measured" whole --to 1024 --rope-theta 50000 --warmup-steps 1
    cp shard $shard # the same, at another time
    expect 0 "extended to 1024" whole --to 1024 --rope-theta 50000 --warmup-steps 1
    printf '\1' | dd of=$weights bs=1 seek=$(($(stat -c %s $weights) - 4)) conv=notrunc 2>/dev/null
    expect 2 "$weights is not what it was when whole/before.json was measured" whole --to 1024 --rope-theta 50000 --warmup-steps 1
    cp weights $weights
    # shellcheck disable=SC2016 # for the stub
    printf '#!/bin/sh\n[ "$1" != train ] || exit 1\nexec %s "$@"\n' "$real" >untrained
    chmod +x untrained
    program=$PWD/untrained expect 1 "before: the loss by position" bound --to 1024 --keep-rope
    cp bound/before.json before.json
    cp other/val_00000.bin $shard
    program=$PWD/untrained expect 1 "bound/before.json is measured anew: $shard is not what it was" bound --to 1024 --keep-rope
    nats() { grep -o '"nats_per_target": [0-9.]*' "$1" | head -n 1; }
    [ "$(nats before.json)" != "$(nats bound/before.json)" ] || fail "an old reading is kept"
    cp shard $shard
}

test_angles() {
    local more=("${small[@]}")
    expect 0 "extended to 1024" scaled --to 1024 --rope-scaling yarn:factor=2,original=512
    [ "$(stages scaled)" = lldd ] || fail "stages $(stages scaled)"
    grep -q yarn scaled/run/step_00000004/config.json || fail "no scaling"
    expect 0 "extended to 1024" kept --to 1024 --keep-rope
    [ "$(theta kept 00000004)" = 10000.0 ] || fail "theta $(theta kept 00000004)"
}

# A number is decimal, whatever it begins with.
test_numbers() {
    local more=("${small[@]}")
    printf '#!/bin/sh\nexit 1\n' >failing
    chmod +x failing
    program=$PWD/failing expect 1 "before: the loss by position" counted --to 1024 --keep-rope --warmup-steps 010
    grep -qx 10 counted/extend.txt || fail "010 updates are not ten"
}

test_refused() {
    local more=("${small[@]}")
    expect 2 "where the model has 512: --rope-theta X" none --to 1024
    expect 2 "--to: the tokens of the new context" none --keep-rope
    expect 2 "'x' is no number" none --to 1024 --keep-rope --warmup-steps x
    expect 2 "--keep-rope goes with no other angles" none --to 1024 --keep-rope --rope-theta 50000
    expect 2 "--keep-rope goes with no other angles" none --to 1024 --rope-theta 50000 --keep-rope
    expect 2 "unknown option --steps" none --to 1024 --keep-rope --steps 4
    expect 2 "texts is there, and not of this script" texts --to 1024 --keep-rope
    more=(-- --seq-len 64)
    expect 2 "--seq-len is this script's own" none --to 1024 --keep-rope
    more=(-- --dry-run)
    expect 2 "--dry-run is this script's own" none --to 1024 --keep-rope
    [ ! -e none ] || fail "what was refused leaves a folder"
}

run_tests test_stages test_goes_on test_bound test_angles test_numbers test_refused
