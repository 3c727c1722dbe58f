#!/usr/bin/env bash
# What make builds anew when compilers, flags, CUDA or headers have come, changed or gone: what they touch, and nothing else. The
# compilers are stand-ins that write down what they are asked for.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"

cat >"$work/gcc" <<'STUB'
#!/usr/bin/env bash
# VERSION and CPU lie beside it; every file that it makes goes to the list of its name.
here=$(dirname "$0")
case " $* " in
*" --version "*) echo "$(basename "$0") $(cat "$here/version.$(basename "$0")")"; exit ;;
*" -Q "*) echo "$* $(cat "$here/cpu")"; exit ;;
esac
while [ $# -gt 0 ]; do [ "$1" != -o ] || out=$2; shift; done
[ -z "${out:-}" ] || { : >"$out" && echo "${out#"$here"/build/}" >>"$here/made.$(basename "$0")"; }
STUB
chmod +x "$work/gcc"
ln "$work/gcc" "$work/g++"
ln "$work/gcc" "$work/nvcc"
mkdir -p "$work/cuda/include" "$work/cuda/lib64" "$work/frontend/include"
touch "$work"/cuda/include/{cuda_runtime,cublasLt,cudnn,cudnn_version,nccl}.h "$work"/frontend/include/cudnn_frontend{,_version}.h \
    "$work"/cuda/lib64/{libcublasLt.so.13,libcudnn.so.9,libnccl.so.2,libcudart_static.a}
for compiler in gcc g++ nvcc; do echo 1 >"$work/version.$compiler"; done
echo skylake >"$work/cpu"

# Runs make; what it made lies in made, one name a line.
build() { # WORD...
    rm -f "$work"/made*
    env -u WERROR -u SAN -u CUDA -u CUDA_ARCHS -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s -C "$root" BUILD="$work/build" CC="$work/gcc" CXX="$work/g++" NVCC="$work/nvcc" CUDA_HOME="$work/cuda" \
        CUDNN_FRONTEND="$work/frontend" PYTHON=false MARCH=native "$@" >"$work/console" 2>&1 || { cat "$work/console" >&2; wrong=1; }
    cat "$work"/made.* 2>/dev/null | sort >"$work/made"
}
differs() { echo "$test: $1: $(head -n 5 "$work/made" | paste -sd ' ') ($(wc -l <"$work/made") files)" >&2; wrong=1; }
made_all() { [ "$(wc -l <"$work/made")" -eq "$all" ] || differs "$1, wanted all $all files"; }
made_only() { [ "$(paste -sd ' ' "$work/made")" = "$2" ] || differs "$1, wanted '$2'"; }

test_cpu() {
    build CUDA=
    all=$(wc -l <"$work/made")
    [ "$all" -gt 50 ] || differs "the first time"
    build CUDA=
    made_only again ""
    echo 2 >"$work/version.gcc"; build CUDA=; made_all "another compiler"
    echo zen5 >"$work/cpu"; build CUDA=; made_all "another processor"
    build CUDA= MARCH=x86-64-v3; made_all MARCH
    build CUDA= MARCH=x86-64-v3 WERROR=1; made_all WERROR
    build CUDA= MARCH=x86-64-v3 WERROR=1; made_only "the same flags" ""
}

test_cuda() {
    build CUDA=
    build CUDA=1 CUDA_ARCHS=90
    grep -qx cuda/train_gpt_lighthouse.o "$work/made" && grep -qx train_gpt_lighthouse "$work/made" &&
        ! grep -q '^core/' "$work/made" || differs "CUDA has come"
    build CUDA=1 CUDA_ARCHS=90; made_only again ""
    build CUDA=; made_only "CUDA has gone" train_gpt_lighthouse
    build CUDA=1 CUDA_ARCHS=90; made_only "CUDA is back" train_gpt_lighthouse
    build CUDA=1 CUDA_ARCHS="90 100"
    [ ! -e "$work/made.gcc" ] && grep -qx cuda/train_gpt_lighthouse.o "$work/made" && ! grep -q cuda/libraries/sdpa.o "$work/made" || differs CUDA_ARCHS
    echo 2 >"$work/version.nvcc"; build CUDA=1 CUDA_ARCHS="90 100"
    [ ! -e "$work/made.gcc" ] && grep -qx cuda/train_gpt_lighthouse.o "$work/made" || differs "another nvcc"
    echo '#define CUDNN_FRONTEND_MINOR_VERSION 19' >"$work/frontend/include/cudnn_frontend_version.h"
    build CUDA=1 CUDA_ARCHS="90 100"; made_only "another frontend" "cuda/libraries/sdpa.o train_gpt_lighthouse"
}

# A switch does what it says, or is refused; a CUDA engine that is left out unasked is told of.
test_switches() {
    local name asked
    mkdir "$work/bare"
    for name in "$root"/*; do case $name in */build* | */third_party) ;; *) ln -s "$name" "$work/bare" ;; esac; done
    tells() { # PART WORD...
        local said
        said=$(env -u WERROR -u SAN -u CUDA -u CUDA_ARCHS -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -n -C "$work/bare" CC="$work/gcc" \
            NVCC="$work/nvcc" MARCH=native "${@:2}" 2>&1)
        [[ $said == *"$1"* ]]
    }
    tells -fsanitize CUDA= SAN=1 || fail "nothing of SAN=1"
    tells -fsanitize CUDA= SAN=0 && fail SAN=0
    tells --coverage CUDA= COVERAGE=0 && fail COVERAGE=0
    tells "CUDA=yes: 1 builds the CUDA engine in" CUDA=yes || fail CUDA=yes
    tells "nvcc is here, and no third_party/cudnn_frontend" || fail "no word of the CUDA engine that is left out"
    for asked in CUDA= CUDA=0; do tells "nvcc is here" "$asked" && fail "$asked"; done
}

run_tests test_cpu test_cuda test_switches
