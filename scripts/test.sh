#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test; those of the GPU too where there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
make -s -j"$(nproc)"
make -s -j"$(nproc)" tests
if nvidia-smi -L >/dev/null 2>&1; then
    make -s -j"$(nproc)" gpu-tests
    make -s test-gpu
fi
make -s test
