#!/usr/bin/env bash
# Makes build/compare-env, the Python environment of dev/compare: torch and transformers from PyPI, 1.4 GB.
# transformers 4 lies beside it, in older/.   Exit status 77: there can be none here, which one line says.
#
# PyPI's torch asks for 3 GB of CUDA libraries, of which a CPU needs the runtime alone, which finds no GPU. So the others
# stay away, and a stand-in takes their names: a library whose every function returns 100, cudaErrorNoDevice.
set -euo pipefail
cd "$(dirname "$0")/../.."
env=build/compare-env torch=2.15.0 cuda=13.2.2
older=(transformers==4.57.6 'huggingface_hub==0.36.*' 'tokenizers==0.22.*' requests urllib3 certifi charset-normalizer)
recipe() { cat dev/compare/setup.sh dev/compare/requirements.txt; }
if recipe | cmp -s - "$env/recipe"; then exit 0; fi

skip() { # WHY
    rm -rf "$env"
    echo "compare: skipped: $1"
    exit 77
}
install() { "$env/bin/pip" install -q --disable-pip-version-check --no-compile --retries 2 "$@"; }

# Gives every CUDA library that torch names, but the runtime and the driver's, a stand-in with all functions that it calls.
stand_in() (
    set -e
    cd "$env"/lib/python3*/site-packages/torch/lib
    nm -D --undefined-only lib*.so | awk '$2 ~ /^(cu|nccl|nv)[A-Za-z]/ && !/@libcudart/ {print $2}' | sort -u >names
    [ -s names ] || exit 0
    sed 's/@.*//; s/.*/int &(void) { return 100; }/' names | sort -u >stand_in.c
    awk -F@ 'NF > 1 {of[$NF] = of[$NF] $1 "; "} END {for (v in of) print v " { " of[v] "};"}' names >versions
    gcc -w -fno-builtin -shared -fPIC -Wl,--version-script=versions -o libstand_in.so stand_in.c
    readelf -d lib*.so | sed -nE 's/.*NEEDED.*\[(lib(cu|nccl|nv)[^]]*)\]/\1/p' | sort -u |
        grep -vE '^libcuda(rt)?\.' | xargs -r -n 1 ln -s libstand_in.so
)

unset PYTHONDONTWRITEBYTECODE # pip compiles nothing: the first import does, of what is used
models="from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast"
rm -rf "$env"
mkdir -p "$env"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || skip "torch $torch needs Python 3.11 or newer"
python3 -m venv "$env" >/dev/null 2>&1 || skip "python3 cannot make an environment (apt-get install python3-venv)"
install safetensors >"$env/log" 2>&1 || skip "PyPI cannot be reached"
{
    install --no-deps "torch==$torch" && install "cuda-toolkit[cudart]==$cuda" -r dev/compare/requirements.txt && stand_in &&
        install --no-deps --target "$env/older" "${older[@]}" &&
        "$env/bin/python" -c "import safetensors.torch, tokenizers; $models" &&
        PYTHONPATH=$env/older "$env/bin/python" -c "$models"
} >"$env/log" 2>&1 || { cat "$env/log" >&2 && exit 1; }
recipe >"$env/recipe"
