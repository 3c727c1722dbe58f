#!/bin/sh
# Runs test programs, each in turn, and sums up. `make test` calls it: BUILD=... dev/test/run.sh PROGRAM...
# Ends with the line "N passed, M failed" (test functions), and with status 1 when any failed. A program that
# ends badly beside its tests (a crash, a sanitizer's find) counts as one failure more.
set -u
here=$(dirname "$0")
output=$(mktemp) || exit 1
trap 'rm -f "$output"' EXIT
passed=0 failed=0 bad=""

for program in "$@"; do
    name=$(basename "$program")
    set --
    [ "$name" = test_golden ] && set -- "$here"/golden/*/ "$here"/golden/*.json
    [ "$name" = test_fuzz ] && set -- "$here"/../fuzz
    [ "$name" = test_predict ] && set -- "$here"/../results
    start=$(date +%s)
    BUILD=${BUILD:-build} "$program" "$@" >"$output" 2>&1
    status=$?
    ok=$(grep -ac '^\[       OK \] ' "$output")
    missed=$(sed -n 's/^\[  FAILED  \] \([0-9][0-9]*\) test(s), listed below:$/\1/p' "$output" | tail -n 1)
    missed=${missed:-0}
    [ "$status" -ne 0 ] && [ "$missed" -eq 0 ] && missed=1
    [ "$status" -eq 0 ] && [ "$ok" -eq 0 ] && status=1 missed=1 # a program without tests proves nothing
    passed=$((passed + ok)) failed=$((failed + missed))
    if [ "$status" -eq 0 ]; then
        printf '%-24s %3d passed  %3d s\n' "$name" "$ok" $(($(date +%s) - start))
    else
        cat "$output"
        printf '%-24s %3d passed  %3d s  %d FAILED (status %d)\n' "$name" "$ok" \
            $(($(date +%s) - start)) "$missed" "$status"
        bad="$bad $name"
    fi
done

[ -n "$bad" ] && echo "failed:$bad"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
