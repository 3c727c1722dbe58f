#!/usr/bin/env bash
# On the GPU: a run that is stopped and resumed ten times at random, under --deterministic, ends in the same bits as one that
# nobody stopped.   gpu_soak.sh PROGRAM [SEED]      DEVICE=cpu exercises the script itself where no GPU is
set -eu
[ $# -ge 1 ] || { echo "usage: gpu_soak.sh PROGRAM [SEED]" >&2; exit 2; }
exec "$(dirname "$0")/soak.py" "$1" --seed "${2:-1}" --device "${DEVICE:-cuda}" --steps 10000 --stops 10 --early 0 --every 250 \
    -- --deterministic --seq-len 1024
