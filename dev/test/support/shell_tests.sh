# shellcheck shell=bash
# What tests in shell share, sourced by them: functions are run one after the other, and results are printed as cmocka does, so
# that dev/test/run.sh counts them. A function fails by setting `wrong`. `root` is the repository, `work` a folder for the test
# that is gone at its end.
# shellcheck disable=SC2034 # tests use them
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The built program's path in `program`, and the test goes on in `work`.
enter_work() {
    program=$(realpath "${BUILD:-build}")/train_gpt_lighthouse
    cd "$work" || exit 1
}
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
