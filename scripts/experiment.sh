# shellcheck shell=bash
# What the experiments share: their options, one at a time in a folder, runs that go on where they were. Sourced; the comment
# at the head of the script that does so is its help.
set -euo pipefail
# shellcheck source=scripts/child.sh
source "$(dirname "$0")/child.sh"
# shellcheck source=scripts/dense.sh
source "$(dirname "$0")/dense.sh"
experiment=$(basename "$0")

fail() {
    echo "$experiment: $*" >&2
    exit 2
}

# FOLDER --preset P --data GLOB --val GLOB [--steps N] [--device D] [--program FILE] [-- OPTIONS OF train]
# Sets out, program, preset, steps and common, the options of every run.
experiment_begin() {
    out='' preset='' steps='' program=$(dirname "$0")/../build/train_gpt_lighthouse common=()
    while [ $# -gt 0 ]; do
        case $1 in
        --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
        --) shift; common+=("$@"); break ;;
        --preset | --steps | --program | --data | --val | --device)
            [ $# -ge 2 ] || fail "$1 needs a value"
            case $1 in
            --preset) preset=$2 ;;
            --steps) steps=$2 ;;
            --program) program=$2 ;;
            *) common+=("$1" "$2") ;;
            esac
            shift 2 ;;
        --*) fail "unknown option $1; options of train go behind --" ;;
        *) [ -z "$out" ] || fail "'$1' is one folder too many; see --help"; out=$1; shift ;;
        esac
    done
    [ -n "$out" ] || fail "no folder is given; see --help"
    [ -x "$program" ] || fail "$program is not there: make it, or name it with --program"
    [ -n "$preset" ] || fail "--preset is missing: tiny (a CPU), small (one GPU) or 530m (the paper's)"
    steps=${steps:-$(preset_setting steps)}
    [[ $steps =~ ^[1-9][0-9]*$ && $steps -ge 16 ]] || fail "--steps $steps: must be a whole number, at least 16"
    common+=(--preset "$preset" --steps "$steps")
    leave_out_lighthouse "${common[@]}"
    check_options
    hold_folder
}

# What a setting is at: given behind --, of the preset, or the default, as train --help has them.
preset_setting() {
    local i
    for ((i = 0; i < ${#common[@]}; i++)); do
        case ${common[i]} in
        --"$1") echo "${common[i + 1]}"; return ;;
        --"$1"=*) echo "${common[i]#*=}"; return ;;
        esac
    done
    "$program" train --help | awk -v preset="$preset" -v key="$1" '
        $1 == "--" key { match($0, /\[[^]]*\]/); value = substr($0, RSTART + 1, RLENGTH - 2) }
        $1 == preset && here { getline; for (i = 1; i <= NF; i++) if (split($i, part, "=") == 2 && part[1] == key) value = part[2] }
        $1 == "Presets" { here = 1 }
        END { print value }'
}

# Whether train takes the options at all: what it refuses now it would refuse at every run.
check_options() {
    local complaint word
    for word in "${common[@]}"; do
        case ${word%%=*} in
        --out | --resume | --stop-at | --attention | --switch-at | --dry-run) fail "${word%%=*} is this script's own: leave it out" ;;
        esac
    done
    case " ${common[*]} " in *" --data "* | *" --data="*) ;; *) fail "--data is missing: the training shards, as --data 'data/train_*.bin'" ;; esac
    case " ${common[*]} " in *" --val "* | *" --val="*) ;; *) fail "--val is missing: the table needs a validation loss" ;; esac
    complaint=$("$program" train --dry-run "${dense[@]}" --attention dense 2>&1 >/dev/null) || fail "$complaint"
}

# What the scripts write at their end, by what is in theirs: somebody else's is told before the first run.
refuse_foreign() {
    local path theirs
    for path in "$out"/{experiment.txt,table.md,report.html,report.svg,by_{topk,pool,levels,scorer}.svg}; do
        [ -s "$path" ] || continue
        case $path in
        *.txt) theirs='^(ablations|reproduce_split)\.sh$' ;;
        *.md) theirs='^\| run \|' ;;
        *) theirs='<title>Training (runs|loss)' ;;
        esac
        grep -qE "$theirs" "$path" || fail "$path is there, and no script of these wrote it: move it away, or name another folder"
    done
}

# What the shards of --data and --val hold, by their headers, which have the hash of the tokens.
shards_told() {
    local word on='' shard
    for word in "${common[@]}"; do
        case $word in
        --data | --val) on=1; continue ;;
        --data=* | --val=*) word=${word#*=} ;;
        --*) on=''; continue ;;
        *) [ -n "$on" ] || continue ;;
        esac
        { compgen -G "$word" || compgen -G "${word%:*}" || true; } | while IFS= read -r shard; do
            { head -c 64 "$shard" 2>/dev/null || true; } | sha256sum # train says what is no shard
        done
    done
}

# All runs of a folder have the same data, wherever and whenever the script is started again.
hold_shards() {
    local shards
    shards=$(shards_told)
    if holds "$out" "*/run.json" && [ -f "$out/experiment.shards" ]; then
        [ "$shards" = "$(cat "$out/experiment.shards")" ] ||
            fail "the shards of --data or --val are not those that $out was begun with: bring them back, or name another folder"
    fi
    echo "$shards" >"$out/experiment.shards"
}

# The folder is this script's alone until it ends, and belongs to the settings it was begun with. A run that outlived a killed
# script holds the folder too.
hold_folder() {
    local settings
    refuse_foreign
    mkdir -p "$out"
    exec 9>"$out/.lock"
    flock -n 9 || { echo "$experiment: a run is still at work in $out; waiting for its end" >&2; flock 9; }
    settings=$(printf '%s\n' "$experiment" "${common[@]}" | grep -vxE -e '--device|auto|cpu|cuda')
    if holds "$out" "*/run.json" && [ -f "$out/experiment.txt" ]; then # a run has begun
        [ "$settings" = "$(cat "$out/experiment.txt")" ] ||
            fail "$out was begun with other settings ($out/experiment.txt); give those, or another folder"
    else
        echo "$settings" >"$out/.experiment.tmp"
        mv "$out/.experiment.tmp" "$out/experiment.txt"
    fi
    hold_shards
    stop_on "${stop_signals[@]}"
}

# ---- runs

# A signal goes to the run, which saves first; then the script ends as the run does, with status 75.
run_program() {
    local status=0
    [ -z "$stopped" ] || exit 75
    run_child "$program" "$@" || status=$?
    [ "$status" -eq 0 ] || exit "$status"
    [ -z "$stopped" ] || exit 75
}

checkpoint() { printf '%s/%s/step_%08d' "$out" "$1" "$2"; }
has_checkpoint() { holds "$out/$1" "step_*"; }

# Run $1 begins as a branch of the checkpoint $2, under dense attention; once more where it has no checkpoint yet.
branch() {
    local i options=()
    for ((i = 0; i < ${#common[@]}; i++)); do # the weights are those of the checkpoint
        case ${common[i]} in
        --init) i=$((i + 1)) ;;
        --init=*) ;;
        *) options+=("${common[i]}") ;;
        esac
    done
    printf '\n== %s, from %s\n' "$1" "$2"
    run_program train "${options[@]}" --attention dense --resume "$2" --out "$out/$1"
}

# Run $1 has done $2 updates: it is started, gone on with, or left as it is. Further words are options of train.
reach() {
    local run=$1 step=$2
    shift 2
    [ ! -d "$(checkpoint "$run" "$step")" ] || return 0
    printf '\n== %s, up to step %d\n' "$run" "$step"
    case " $* " in
    *" --attention dense "*) run_program train "${dense[@]}" --out "$out/$run" --resume auto --stop-at "$step" "$@" ;;
    *) run_program train "${common[@]}" --out "$out/$run" --resume auto --stop-at "$step" "$@" ;;
    esac
}
