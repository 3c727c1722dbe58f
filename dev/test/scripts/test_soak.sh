#!/usr/bin/env bash
# The soak test, short: a few hundred steps. The long one is `dev/test/soak.py build/train_gpt_lighthouse`.
# Prints its result as cmocka does, so that dev/test/run.sh counts it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:quarantine_size_mb=1" # what it has freed is no growth
echo "[ RUN      ] test_soak"
if "$here/../soak.py" "${BUILD:-build}/train_gpt_lighthouse" --steps 400 --stops 12 --early 4 --every 10; then
    echo "[       OK ] test_soak"
else
    echo "[  FAILED  ] 1 test(s), listed below:"
    exit 1
fi
