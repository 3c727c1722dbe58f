# shellcheck shell=bash
# What tests in shell share, sourced by them: functions are run one after the other, and results are printed as cmocka does, so
# that dev/test/run.sh counts them. A function fails by setting `wrong`.
run_tests() { # FUNCTION...
    local failures=()
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
