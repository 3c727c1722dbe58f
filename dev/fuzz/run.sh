#!/usr/bin/env bash
# Runs the fuzzers one after the other: dev/fuzz/run.sh PROGRAM SECONDS [NAME...]; `make fuzz` calls it.
# What they learn stays in build-fuzz/corpus/NAME for the next time; an input that a reader fails on goes to
# build-fuzz/found/NAME, and to dev/fuzz/crashes/NAME once the reader is mended. Status 1 when there was one.
set -euo pipefail
program=$1 seconds=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
work=$(dirname "$program")
[ $# -gt 0 ] || set -- $(cd "$here/corpus" && ls)

TMPDIR=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
export TMPDIR OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
trap 'rm -rf "$TMPDIR"' EXIT
# Shows what the newest input does.
again() {
    local input
    input=$(find "$work/found/$1" -type f -newer "$TMPDIR/start" | head -n 1)
    [ -n "$input" ] || { tail -n 5 "$work/$1.log"; return; }
    echo "  HARNESS=$1 $program $input"
    HARNESS=$1 "$program" -timeout=10 -malloc_limit_mb=64 "$input" 2>&1 |
        grep -aE 'ERROR|runtime error|fuzz: |^ *#[0-9]+ .* in [a-z_]+ (core|cpu|dev|\./)' | head -n 12 || true
}

bad=()
for name in "$@"; do
    mkdir -p "$work/corpus/$name" "$work/found/$name" "$here/crashes/$name"
    # Sizes that a file only claims must never be allocated: 64 MB are far more than any input is worth.
    touch "$TMPDIR/start"
    status=0
    HARNESS=$name nice "$program" -max_total_time="$seconds" -timeout=10 -max_len=32768 -rss_limit_mb=2048 -malloc_limit_mb=64 \
        -dict="$here/words.dict" -artifact_prefix="$work/found/$name/" -print_final_stats=1 \
        "$work/corpus/$name" "$here/corpus/$name" "$here/crashes/$name" >"$work/$name.log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/$name.log" | tail -n 1)
    printf '%-12s %9s runs, %5s edges covered: ' "$name" "${runs:-?}" "${coverage:-?}"
    if [ $status -eq 0 ]; then
        echo clean
    else
        bad+=("$name")
        echo "FAILED"
        again "$name"
    fi
done
[ ${#bad[@]} -eq 0 ] || { echo "failed: ${bad[*]}; see $work/NAME.log" >&2; exit 1; }
