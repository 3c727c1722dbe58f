#!/usr/bin/env bash
# Installs what is missing to build and test on Debian and Ubuntu. Elsewhere it says what is needed and goes on if it is there.
# `setup.sh --hosts`: also what the tests in dev/test/hosts make two hosts and a Slurm cluster of.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(gcc make pkg-config libopenblas-dev libjansson-dev libxxhash-dev zlib1g-dev libzstd-dev libcmocka-dev libopenmpi-dev openmpi-bin curl python3)
if [ "${1:-}" = --hosts ]; then
    packages+=(iproute2 openssh-server openssh-client procps munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins libpmix2)
fi
# The CUDA engine: where nvcc is, a C++ compiler and pip, which fetches the headers of cudnn-frontend.
nvcc=$(command -v nvcc || command -v /usr/local/cuda/bin/nvcc || true)
if [ -n "$nvcc" ]; then
    packages+=(g++)
    python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
fi

missing=()
if command -v dpkg-query >/dev/null; then
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
else
    echo "setup: this system has no dpkg; install yourself what these Debian packages hold: ${packages[*]}" >&2
fi
install_missing() {
    local as_root=() log
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "setup: install as root: apt-get install ${missing[*]}" >&2; exit 1; }
        as_root=(sudo)
    fi
    echo "setup: installing ${missing[*]}"
    log=$(mktemp)
    if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -20 "$log" >&2
        exit 1
    fi
    rm -f "$log"
}

[ ${#missing[@]} -eq 0 ] || install_missing
if [ -n "$nvcc" ]; then
    scripts/fetch_cudnn_frontend.sh ||
        echo "setup: without the headers of cudnn-frontend the program is built with the CPU engine alone" >&2
elif nvidia-smi -L >/dev/null 2>&1; then
    echo "setup: a GPU is here, but no nvcc: the program is built with the CPU engine alone. Install the CUDA toolkit," \
        "with cuDNN 9 and NCCL, and put nvcc on the path" >&2
fi
