#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test; those of the GPU too where there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
gpu() { nvidia-smi -L >/dev/null 2>&1; }
# Without a GPU the CUDA engine is left out: nothing here tests it, and its libraries slow every start.
gpu || export CUDA=${CUDA-0}
make -s -j"$(nproc)"
make -s -j"$(nproc)" tests
if gpu; then
    make -s -j"$(nproc)" gpu-tests
    make -s test-gpu
fi
make -s test
