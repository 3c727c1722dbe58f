# shellcheck shell=bash
# What experiments on all GPUs of a machine share: the launcher, runs that go on where they were, evaluations, and one archive
# of what is to be kept. Sourced by gpu_hours.sh and gpu_ratio.sh, whose heads are their help.
#
# Every run and every evaluation is left as it is where it is done, so the same command goes on after whatever ended it.
# To outlive the shell that starts it:   setsid SCRIPT ... >FOLDER.log 2>&1 </dev/null &
# How far it is:   tail -n 3 FOLDER.log; tail -qn 1 FOLDER/*/log.jsonl.   NAME.status in FOLDER holds its status at the end.
# Variables: RANKS (the GPUs there are), DEVICE=cuda, DATA (a folder of machine_corpus.sh; FOLDER/data, made where there is
# none), ROOTS and MEGABYTES of its text, MPIRUN=mpirun.
set -euo pipefail
export LC_ALL=C

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

# Sets out, program, data, ranks, launch and device.   runs_begin NAME FOLDER PROGRAM
runs_begin() {
    local name=$1 cores
    out=$2 program=$3 device=${DEVICE:-cuda}
    command -v "$program" >/dev/null || { echo "$(basename "$0"): $program is not there: make it" >&2; exit 2; }
    ranks=${RANKS:-$({ nvidia-smi -L 2>/dev/null || true; } | wc -l)}
    [ "$ranks" -ge 1 ] || { echo "$(basename "$0"): no GPU is to be seen (nvidia-smi -L)" >&2; exit 2; }
    mkdir -p "$out"
    exec 9>"$out/.lock"
    flock -n 9 || { echo "$(basename "$0"): another one is at work in $out" >&2; exit 2; }
    rm -f "$out/$name.status"
    # shellcheck disable=SC2064
    trap "echo \$? >'$out/$name.status'" EXIT
    launch=()
    if [ "$ranks" -gt 1 ]; then launch=("${MPIRUN:-mpirun}" -np "$ranks" --bind-to none); fi
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 NCCL_NVLS_ENABLE=${NCCL_NVLS_ENABLE:-0}
    cores=$(($(nproc) / ranks))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > 1 ? cores : 1))}
    data=${DATA:-$out/data}
    describe_machine
    IFS=' ' read -ra roots <<<"${ROOTS:-}"
}

# Runs the program on all ranks. The lock must not outlive this script.
on_ranks() { "${launch[@]}" "$program" "$@" </dev/null 9>&-; }

# The shards, for sequences of this many tokens; further words are options of pack.
need_data() {
    [ -f "$data/text.txt" ] || "$(dirname "$0")/../data/machine_corpus.sh" "$data" "$program" "${MEGABYTES:-1000000}" "$1" \
        "${roots[@]}" -- "${@:2}"
}

checkpoint() { printf '%s/%s/step_%08d' "$out" "$1" "$2"; }

# Run $1 has done $2 updates: it is started, gone on with, or left as it is. Further words are options of train.
reach() {
    [ ! -d "$(checkpoint "$1" "$2")" ] || return 0
    echo "== $1, up to update $2 ($(date +%T))"
    # shellcheck disable=SC2154 # the script's that sources this
    on_ranks train "${common[@]}" --out "$out/$1" --resume auto --steps "$2" "${@:3}"
}

# The same of a branch: it begins at update $3 of run $4.
reach_branch() {
    local from=(--resume auto)
    [ ! -d "$(checkpoint "$1" "$2")" ] || return 0
    if ! compgen -G "$out/$1/step_*" >/dev/null; then
        rm -rf "${out:?}/$1" # begun, and ended before its first checkpoint
        from=(--resume "$(checkpoint "$4" "$3")")
    fi
    echo "== $1, from update $3 of $4 up to $2 ($(date +%T))"
    # shellcheck disable=SC2154 # the script's that sources this
    on_ranks train "${common[@]}" --out "$out/$1" "${from[@]}" --steps "$2" "${@:5}"
}

# The loss of a run's last checkpoint over the validation text goes to eval/RUN.json. Further words are options of eval.
evaluate() {
    mkdir -p "$out/eval"
    [ ! -s "$out/eval/$1.json" ] || return 0
    echo "== loss of $1 ($(date +%T))"
    on_ranks eval --model "$out/$1" --data "$data/val/train_*.bin" --device "$device" --by-position "${@:2}" \
        >"$out/eval/$1.tmp"
    mv "$out/eval/$1.tmp" "$out/eval/$1.json"
    cat "$out/eval/$1.json"
}

# Needles, on the GPUs alone that there are; further words are options of niah.
needles() {
    [ ! -s "$out/niah/$1/summary.json" ] || return 0
    echo "== needles of $1 ($(date +%T))"
    on_ranks niah --model "$out/$1" --device "$device" --out "$out/niah/$1" "${@:2}"
}

# What the figures hold for: GPUs, driver, libraries, build.
describe_machine() {
    {
        nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv 2>/dev/null || echo "no nvidia-smi"
        "$program" info # its libraries, cuDNN and NCCL among them
        uname -sr
        echo "$(env -u OMP_NUM_THREADS nproc) cores"
    } >"$out/machine.txt" 2>&1
}

# Seconds that a run's updates took, up to one, by attention: what the arms are held equal in.
seconds_of() { # RUN [UPDATE]
    awk -v last="${2:-1000000000}" '/^\{"step":/ && substr($0, 9) + 0 <= last { match($0, /"attention":"[a-z]*"/); kind = substr($0, RSTART + 13, RLENGTH - 14)
        match($0, /"seconds":[0-9.e+-]*/); sum[kind] += substr($0, RSTART + 10, RLENGTH - 10); n[kind]++ }
        END { for (kind in sum) printf "%s %d updates %.1f s\n", kind, n[kind], sum[kind] }' "$out/$1/log.jsonl" | sort
}

# Logs, settings, evaluations and what else is small, of the named runs: FOLDER/keep/NAME.tar.gz, made anew each time.
keep() { # NAME RUN...
    local name=$1 run file wanted=(machine.txt text.txt seconds.txt bench.jsonl "$1.plan.txt" "$1.html") files=()
    cp "$data/text.txt" "$out/text.txt"
    for run in "${@:2}"; do wanted+=("$run/log.jsonl" "$run/run.json" "eval/$run.json" "niah/$run"); done
    for file in "${wanted[@]}"; do
        if [ -e "$out/$file" ]; then files+=("$file"); fi
    done
    mkdir -p "$out/keep"
    tar -C "$out" -czf "$out/keep/$name.tmp" "${files[@]}"
    mv "$out/keep/$name.tmp" "$out/keep/$name.tar.gz"
    echo "== kept: $out/keep/$name.tar.gz"
}
