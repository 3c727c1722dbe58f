#!/usr/bin/env bash
# Runs test programs and sums up. `make test` calls it: BUILD=... dev/test/run.sh PROGRAM...
# JOBS=N runs N programs at once, of two threads each. What mostly waits for others (test_ranks) runs beside them all.
# Ends with the line "N passed, M failed" (test functions), and with status 1 when any failed. A program that
# ends badly beside its tests (a crash, a sanitizer's find) counts as one failure more.
set -u
here=$(dirname "$0")
BUILD=${BUILD:-build}
jobs=${JOBS:-1}
[ "$jobs" -eq 1 ] || export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
results=$(mktemp -d) || exit 1
trap 'rm -rf "$results"' EXIT
export here BUILD results

# One line of what a program did, after its output where a test failed; its counts go to results/NAME.
run_program() { # PROGRAM
    local name status start ok missed skipped output
    local -a words=()
    name=$(basename "$1") output=$results/$name.output
    case $name in
    test_golden) words=("$here"/golden/*/ "$here"/golden/*.json) ;;
    test_fuzz) words=("$here"/../fuzz) ;;
    test_predict) words=("$here"/../results) ;;
    esac
    start=$(date +%s)
    "$1" "${words[@]}" >"$output" 2>&1
    status=$?
    read -r ok missed skipped < <(awk -v status=$status -f "$here/support/count_tests.awk" "$output")
    echo "$ok $missed $skipped $name" >"$results/$name"
    [ "$missed" -eq 0 ] && : >"$output"
    {
        printf '%-24s %3d passed  %3d s' "$name" "$ok" $(($(date +%s) - start))
        [ "$skipped" -eq 0 ] || printf '  %d skipped' "$skipped"
        [ "$missed" -eq 0 ] || printf '  %d FAILED (status %d)' "$missed" "$status"
        echo
    } >>"$output"
    cat "$output"
}
export -f run_program

run_programs() { # JOBS PROGRAM...
    # shellcheck disable=SC2016 # the inner shell's $1
    [ $# -eq 1 ] || printf '%s\0' "${@:2}" | xargs -0 -P "$1" -I{} bash -c 'run_program "$1"' run.sh {}
}
waiting=() others=()
for program in "$@"; do
    if [[ $program == */test_ranks ]]; then waiting+=("$program"); else others+=("$program"); fi
done
run_programs 1 "${waiting[@]}" &
run_programs "$jobs" "${others[@]}"
wait
rm -f "$results"/*.output
cat "$results"/* | awk -v programs=$# '
    { passed += $1; failed += $2; if ($2) bad = bad " " $4; if ($3) skipped = skipped " " $4 }
    END {
        if (NR != programs) { bad = bad " (" programs - NR " programs left no result)"; failed += programs - NR }
        if (skipped) print "skipped, in part:" skipped
        if (bad) print "failed:" bad
        print passed + 0 " passed, " failed + 0 " failed"
        exit failed > 0
    }'
