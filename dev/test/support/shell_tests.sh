# shellcheck shell=bash
# What tests in shell share, sourced by them: functions are run one after the other, and results are printed as cmocka does, so
# that dev/test/run.sh counts them. A function fails by setting `wrong`. `root` is the repository, `work` a folder for the test
# that is gone at its end.
# shellcheck disable=SC2034 # tests use them
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
work=$(mktemp -d)
# A child that a signal ends before it has become another program would run this, too.
trap '[ $BASHPID -ne $$ ] || rm -rf "$work"' EXIT
# The quickest run.
smallest_train=(train --layers 1 --dim 64 --heads 1 --kv-heads 1 --head-dim 64 --ffn 64 --vocab 264 --seq-len 64
    --attention dense --global-batch 1 --warmup 2 --device cpu --data 'data/train_*.bin')

# The built program's path in `program`, and the test goes on in `work`.
enter_work() {
    program=$(realpath "${BUILD:-build}")/train_gpt_lighthouse
    hold_shim=${program%/*}/hold_shim.so
    cd "$work" || exit 1
}
# Until a command gives status 0, for five minutes at most.
await() { # WORDS...
    local end=$((SECONDS + 300))
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}
# What a subshell starts after `hold` stands still behind an update (hold_shim.c says how): till it heeds a signal, or is told by
# `go_on`. NAME is new for each.
hold() { # NAME told|signal STEP
    export HOLD_FILE=$work/$1.held HOLD_TILL=$2 HOLD_LINE="{\"step\":$3," LD_PRELOAD=$hold_shim
    export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
}
held() { # NAME: waits until it does
    await test -e "$work/$1.held" || { fail "$1 does not come to where it is to stand still"; return 1; }
}
heeds() { await test -s "$work/$1.held.signals" || fail "$1 heeds no signal"; } # NAME
go_on() { echo go >"$work/$1.held"; }                                          # NAME
fail() { echo "$test: $*" >&2; wrong=1; }
run_tests() { # FUNCTION...
    local failures=()
    echo "[==========] Running $# test(s)."
    for test in "$@"; do
        wrong=0
        $test
        if [ $wrong -eq 0 ]; then echo "[       OK ] $test"; else failures+=("$test"); fi
    done
    [ ${#failures[@]} -gt 0 ] || return 0
    echo "[  FAILED  ] ${#failures[@]} test(s), listed below:"
    printf '[  FAILED  ] %s\n' "${failures[@]}"
    return 1
}
