#!/usr/bin/env bash
# The numeric tests under every set of kernels ("core type") that OpenBLAS can take on this machine: what they promise must
# hold on other processors than this one. BUILD=... dev/test/core_types.sh [short]
#   short   some seconds a core type, for `make test`: kernels, the layer's golden cases, updates, decoding
#   else    also gradients, engines, runs, resumes, and several ranks, of their kin ranks that share a sequence; minutes in all,
#           for .ci/run
# Prints a line for each core type, as cmocka does for a test, and what is not in this library or does not run here.
set -u
cd "$(dirname "$0")/../.." || exit 1
export BUILD=${BUILD:-build}
# One of each family. Their kin have nearly the same kernels (Zen has Haswell's, in other blocks), and are held
# to the short list, and to the same forward on ranks that share a sequence.
families="Prescott Nehalem Sandybridge Haswell SkylakeX Cooperlake Sapphirerapids Barcelona Bulldozer Piledriver
    Steamroller Excavator ARMV8 CORTEXA57 CORTEXA72 NEOVERSEN1 NEOVERSEN2 NEOVERSEV1 VORTEX"
kin="Core2 Penryn Dunnington Atom Nano Opteron Opteron_SSE3 Bobcat Zen CORTEXA53 CORTEXA73 THUNDERX THUNDERX2T99 TSV110"
absent="" foreign="" failures=()
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Sets `taken` to the core type that the library takes, and `fault` to what is wrong with it.
look() {
    local line
    line=$("$BUILD/train_gpt_lighthouse" info 2>/dev/null | grep '^products ')
    taken=${line##* with kernels for } taken=${taken%%[: ]*} fault=""
    [[ $line == *": right" ]] || fault=${line#products }
}

# A program's tests, or those of one pattern; what it printed is shown where one fails, or none was run.
check() { # PROGRAM [WORD...]
    "$BUILD/$1" "${@:2}" >"$output" 2>&1 && grep -q '^\[       OK ' "$output" && return
    echo "$* fails under $taken:"
    grep -av '^\[ RUN  \|^\[       OK ' "$output"
    wrong=1
}

check_short() {
    check test_kernels
    check test_update
    check test_decode
    check test_golden dev/test/golden/*/
}

check_more() {
    for program in layer gradients engine resume run; do check "test_$program"; done
    for pattern in '*_parallel' '*alike*' 'test_resume*' test_eval test_niah; do check test_ranks "$pattern"; done
}

# Under the environment's core type.
run_list() { # short|kin|full
    local start=$SECONDS
    wrong=0
    check_short
    [ "$1" != kin ] || check test_ranks '*context_parallel'
    [ "$1" != full ] || check_more
    if [ $wrong -eq 0 ]; then echo "[       OK ] $taken ($1, $((SECONDS - start)) s)"; else failures+=("$taken"); fi
}

run_core() { # NAME short|kin|full
    export OPENBLAS_CORETYPE=$1
    look
    if [ "${taken,,}" != "${1,,}" ]; then
        absent+=" $1"
    elif [ -n "$fault" ]; then
        foreign+=" $1"
    elif [ "$taken" != "$own" ]; then
        run_list "$2"
    fi
}

list=${1:-full}
unset OPENBLAS_CORETYPE
look
own=$taken
if [ -n "$fault" ]; then
    echo "$fault"
    failures+=("$own")
else
    run_list "$list"
fi
for core in $families; do run_core "$core" "$list"; done
for core in $kin; do [ "$list" = short ] || run_core "$core" kin; done
echo "not in this OpenBLAS:${absent:- none}; not on this processor:${foreign:- none}; by itself it takes $own"
[ ${#failures[@]} -eq 0 ] && exit
echo "[  FAILED  ] ${#failures[@]} test(s), listed below:"
printf '[  FAILED  ] %s\n' "${failures[@]}"
exit 1
