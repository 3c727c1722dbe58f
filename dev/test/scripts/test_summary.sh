#!/usr/bin/env bash
# dev/test/run.sh on programs that print what cmocka of several versions prints, and that end in other ways.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"

# A program NAME that prints standard input and then runs a line of shell.
program() { # NAME LINE
    { echo '#!/bin/bash' && echo "cat <<'PRINTED'" && cat && echo PRINTED && echo "$2"; } >"$work/$1"
    chmod +x "$work/$1"
}
# Runs programs, and holds status and closing line against what they should be.
expect() { # STATUS LINE PROGRAM...
    local status=0
    (cd "$work" && "$root/dev/test/run.sh" "${@:3}") >"$work/console" 2>&1 || status=$?
    [ $status -eq "$1" ] && [ "$(tail -n 1 "$work/console")" = "$2" ] && return
    echo "${*:3}: wanted status $1, '$2'; it ended with $status and said:" >&2
    cat "$work/console" >&2
    wrong=1
}

test_passed() {
    printf '%s\n' '[==========] Running 2 test(s).' '[       OK ] a' '[       OK ] b' '[  PASSED  ] 2 test(s).' | program old 'exit 0'
    printf '%s\n' '[==========] g: Running 1 test(s).' '[       OK ] a' '[==========] g: 1 test(s) run.' '[  PASSED  ] 1 test(s).' |
        program new 'exit 0'
    expect 0 "3 passed, 0 failed" ./old ./new
}

# Every version counts alike.
test_failed() {
    printf '%s\n' '[==========] Running 4 test(s).' '[       OK ] a' '[  FAILED  ] b' '[  FAILED  ] c' '[       OK ] d' \
        '[  FAILED  ] 2 test(s), listed below:' '[  FAILED  ] b' '[  FAILED  ] c' '' ' 2 FAILED TEST(S)' | program v1.1.5 'exit 1'
    printf '%s\n' '[==========] g: Running 4 test(s).' '[       OK ] a' '[  FAILED  ] b' '[  FAILED  ] c' '[       OK ] d' \
        '[  FAILED  ] g: 2 test(s), listed below:' '[  FAILED  ] b' '[  FAILED  ] c' '' ' 2 FAILED TEST(S)' | program v1.1.7 'exit 1'
    expect 1 "2 passed, 2 failed" ./v1.1.5
    expect 1 "2 passed, 2 failed" ./v1.1.7
    expect 1 "4 passed, 4 failed" ./v1.1.5 ./v1.1.7
    grep -q '^failed: v1.1.5 v1.1.7$' "$work/console" || { cat "$work/console" >&2; wrong=1; }
}

# Closing lines of 1.1.5 leave out a test whose setup failed; here none was of another kind.
test_setup_failed() {
    printf '%s\n' '[==========] Running 2 test(s).' '[       OK ] a' '[  ERROR   ] b' '' ' 1 FAILED TEST(S)' | program setup 'exit 1'
    expect 1 "1 passed, 1 failed" ./setup
    printf '%s\n' '[==========] Running 1 test(s).' '[  FAILED  ] GROUP SETUP' '[  ERROR   ] g' | program group 'exit 1'
    expect 1 "0 passed, 1 failed" ./group
}

test_failures_with_status_0() {
    printf '%s\n' '[       OK ] a' '[  FAILED  ] g: 1 test(s), listed below:' '[  FAILED  ] b' | program forgets 'exit 0'
    expect 1 "1 passed, 1 failed" ./forgets
}

test_ends_badly() {
    printf '%s\n' '[==========] Running 3 test(s).' '[       OK ] a' | program crashes 'kill -SEGV $$'
    expect 1 "1 passed, 1 failed" ./crashes
    printf '%s\n' '[==========] Running 3 test(s).' '[       OK ] a' | program leaves 'exit 0'
    expect 1 "1 passed, 1 failed" ./leaves
    printf '%s\n' '[==========] Running 1 test(s).' '[       OK ] a' | program leaks 'exit 23'
    expect 1 "1 passed, 1 failed" ./leaks
    printf '%s\n' '[==========] Running 2 test(s).' '[       OK ] a' '[  FAILED  ] b' '[  FAILED  ] 1 test(s), listed below:' |
        program both 'exit 23'
    expect 1 "1 passed, 2 failed" ./both
    program nothing 'exit 0' </dev/null
    expect 1 "0 passed, 1 failed" ./nothing
    expect 1 "0 passed, 1 failed" ./absent
}

test_skipped() {
    printf '%s\n' '[==========] Running 2 test(s).' '[       OK ] a' '[  SKIPPED ] b' '[  SKIPPED ] 1 test(s), listed below:' \
        '[  SKIPPED ] b' '' ' 1 SKIPPED TEST(S)' | program skips 'exit 0'
    expect 0 "1 passed, 0 failed" ./skips
    grep -q '^skipped, in part: skips$' "$work/console" || { cat "$work/console" >&2; wrong=1; }
}

run_tests test_passed test_failed test_setup_failed test_failures_with_status_0 test_ends_badly test_skipped
