#!/usr/bin/env bash
# Gives a model a longer context, in stages that can be read off its lines; started again with the same words it goes on.
#
#   extend_context.sh MODEL DATA OUT --to TOKENS (--rope-theta X | --rope-scaling S | --keep-rope)
#                     [--warmup-steps 0] [--lighthouse-steps 1000] [--dense-steps 600] [--sequences 8]
#                     [--device auto|cuda|cpu] [--program FILE] [-- OPTIONS OF train]
#
#   1 before       the loss of MODEL by position, at the new length and with its own angles
#   2 angles       rotary angles for the new length: another base, or a scaling; or those that the model has
#   3 warm-up      --warmup-steps updates under dense attention, if any: the model meets its new angles
#   4 Lighthouse   --lighthouse-steps updates under Lighthouse attention, most of the training
#   5 dense tail   --dense-steps updates under dense attention, which the model is used with
#   6 after        the loss by position of what has come out
#   7 report       report.svg and table.md: the run, and both losses by position
#
# MODEL is a Hugging Face folder, DATA a folder with train_*.bin and val_*.bin. OUT receives before.json, run, after.json and
# the report; the model is the last checkpoint in OUT/run. SIGTERM saves first (status 75). The learning rate is 2e-5 over a
# warm-up of 20 updates, with 8 sequences an update, unless options of train say otherwise. MPIRUN="scripts/mpirun.sh -np 8"
# trains and evaluates on that many ranks.
set -euo pipefail
repository=$(dirname "$0")/..
# shellcheck source=scripts/child.sh
source "$repository/scripts/child.sh"
# shellcheck source=scripts/dense.sh
source "$repository/scripts/dense.sh"
refuse() { echo "extend_context: $*" >&2; exit 2; }

read_words() {
    to='' rope=() warm=0 light=1000 tail=600 sequences=8 device=(--device auto) places=() given=()
    program=$repository/build/train_gpt_lighthouse
    while [ $# -gt 0 ]; do
        case $1 in
        --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        --) shift; given=("$@"); break ;;
        --keep-rope) rope+=(keep); shift; continue ;;
        --*) [ $# -ge 2 ] || refuse "$1 needs a value" ;;&
        --to) to=$2 ;;
        --rope-theta | --rope-scaling) rope+=("$1" "$2") ;;
        --warmup-steps) warm=$2 ;;
        --lighthouse-steps) light=$2 ;;
        --dense-steps) tail=$2 ;;
        --sequences) sequences=$2 ;;
        --device) device=(--device "$2") ;;
        --program) program=$2 ;;
        --*) refuse "unknown option $1; options of train go behind --" ;;
        *) places+=("$1"); shift; continue ;;
        esac
        shift 2
    done
    [ ${#places[@]} -eq 3 ] || refuse "usage: extend_context.sh MODEL DATA OUT --to TOKENS ...; see --help"
    model=${places[0]} data=${places[1]} out=${places[2]}
}

is_number() { [[ $1 =~ ^[0-9]{1,12}$ ]]; }
check_words() {
    local word context
    is_number "${to:-none}" || refuse "--to: the tokens of the new context, as --to 131072"
    for word in "$warm" "$light" "$tail" "$sequences"; do
        is_number "$word" || refuse "'$word' is no number of updates or sequences"
    done
    to=$((10#$to)) warm=$((10#$warm)) light=$((10#$light)) tail=$((10#$tail)) # 010 is ten
    if [ ${#rope[@]} -gt 1 ] && [[ " ${rope[*]} " = *" keep "* ]]; then refuse "--keep-rope goes with no other angles"; fi
    for word in "$to" "$light" "$tail" "$sequences"; do
        [ "$word" -gt 0 ] || refuse "--to, --lighthouse-steps, --dense-steps and --sequences must be 1 or more"
    done
    [ -x "$program" ] || refuse "$program is not there: make it, or name it with --program"
    [ -f "$model/config.json" ] || refuse "$model is no model folder: it has no config.json"
    for word in train val; do holds "$data" "${word}_*.bin" || refuse "$data has no ${word}_*.bin (docs/data.md)"; done
    for word in "${given[@]}"; do
        case ${word%%=*} in
        --out | --resume | --stop-at | --attention | --switch-at | --steps | --init | --data | --val | --seq-len | --rope-* | --dry-run)
            refuse "${word%%=*} is this script's own: leave it out" ;;
        esac
    done
    if [ ${#rope[@]} -gt 0 ]; then return; fi
    context=$("$program" info "$model" | sed -n 's/.*context \([0-9]*\)$/\1/p' | head -1)
    refuse "say what the rotary angles are to be at $to tokens, where the model has ${context:-?}:" \
        "--rope-theta X, --rope-scaling yarn:factor=F,original=${context:-N}, or --keep-rope"
}

# Settings of the recipe that are not among those given.
read_recipe() {
    local word
    recipe=()
    for word in lr=2e-5 warmup=20 global-batch=8; do
        case " ${given[*]} " in *" --${word%%=*} "* | *" --${word%%=*}="*) ;; *) recipe+=("--$word") ;; esac
    done
}

# A folder belongs to the words that it was begun with, and to one script at a time.
hold_folder() {
    local settings
    settings=$(printf '%s\n' "$model" "$data" "$to" "${rope[@]}" "$warm" "$light" "$tail" "$sequences" "${given[@]}")
    if [ -e "$out" ] && [ ! -f "$out/extend.txt" ] && holds "$out" "*"; then
        refuse "$out is there, and not of this script: name another folder"
    fi
    mkdir -p "$out"
    exec 9>"$out/.lock"
    flock -n 9 || refuse "$out: this script is at work there"
    if [ -f "$out/extend.txt" ] && [ "$settings" != "$(cat "$out/extend.txt")" ]; then
        refuse "$out was begun with other settings ($out/extend.txt); give those, or another folder"
    fi
    echo "$settings" >"$out/extend.txt"
}

# The program, on as many ranks as MPIRUN says; a signal goes on to it.
run() {
    local status=0 mpirun
    read -ra mpirun <<<"${MPIRUN:-}"
    [ -z "$stopped" ] || exit 75
    run_child "${mpirun[@]}" "$program" "$@" || status=$?
    [ "$status" -eq 0 ] || exit "$status"
    [ -z "$stopped" ] || exit 75
}

measure() { # NAME MODEL
    [ ! -f "$out/$1.json" ] || return 0
    printf '\n== %s: the loss by position\n' "$1"
    run eval --model "$2" --data "$data/val_*.bin" --by-position --seq-len "$to" --val-batches "$sequences" "${device[@]}" \
        >"$out/$1.tmp"
    mv "$out/$1.tmp" "$out/$1.json"
}

# What before.json is made of: hash, size and time, name of each file. One of the same size and time is not read again.
fingerprint() {
    local file mark hash
    for file in "$model/config.json" "$model"/*.safetensors "$data"/val_*.bin; do
        [ -f "$file" ] || continue
        mark=$(stat -Lc '%s %y' "$file") hash=''
        if [ -f "$out/before.files" ]; then
            hash=$(mark=$mark file=$file awk -F '\t' '$2 == ENVIRON["mark"] && $3 == ENVIRON["file"] { print $1 }' "$out/before.files")
        fi
        [ -n "$hash" ] || hash=$(sha256sum <"$file" | cut -d ' ' -f 1)
        printf '%s\t%s\t%s\n' "$hash" "$mark" "$file"
    done
}
# The first file that is not what it was, by its name or by its hash.
changed_file() { cut -f 1,3 "$out/before.files" "$out/files.tmp" | sort | uniq -u | cut -f 2 | sort | sed -n 1p; }

# A reading of another model, or of other shards, is not compared with what comes out: it is made anew, or refused where the
# run has begun.
bind_before() {
    local why=''
    fingerprint >"$out/files.tmp"
    if [ -f "$out/before.files" ]; then
        why=$(changed_file)
        [ -z "$why" ] || [ ! -e "$out/run" ] ||
            refuse "$why is not what it was when $out/before.json was measured and the run begun: bring it back, or name another folder"
        why=${why:+$why is not what it was}
    elif [ -f "$out/before.json" ]; then
        why="nothing tells what it was made of"
    fi
    if [ -n "$why" ] && [ -f "$out/before.json" ]; then
        echo "extend_context: $out/before.json is measured anew: $why" >&2
        rm "$out/before.json"
    fi
    mv "$out/files.tmp" "$out/before.files"
}

updates_done() {
    local step=0 folder
    for folder in "$out"/run/step_*; do # others, as a copy that somebody has made, are no checkpoints
        [[ -d $folder && ${folder##*/} =~ ^step_([0-9]{8,})$ ]] && step=$((10#${BASH_REMATCH[1]}))
    done
    echo "$step"
}

# The run is trained up to an update, unless that is done.
stage() { # NAME UP-TO OPTION...
    local name=$1 end=$2
    shift 2
    [ "$(updates_done)" -lt "$end" ] || return 0
    printf '\n== %s: up to update %d\n' "$name" "$end"
    run train --init "$model" --data "$data/train_*.bin" --val "$data/val_*.bin" --out "$out/run" --resume auto --seq-len "$to" \
        "${angles[@]}" --steps "$all" --stop-at "$end" "${device[@]}" "${recipe[@]}" "$@"
}

read_words "$@"
check_words
read_recipe
leave_out_lighthouse "${given[@]}"
hold_folder
stop_on "${stop_signals[@]}"
all=$((warm + light + tail)) angles=()
for word in "${rope[@]}"; do [ "$word" = keep ] || angles+=("$word"); done

bind_before
measure before "$model"
[ "$warm" -eq 0 ] || stage warm-up "$warm" --attention dense "${dense[@]}"
stage Lighthouse $((warm + light)) --attention lighthouse --switch-at $((warm + light)) "${given[@]}"
stage "dense tail" "$all" --attention lighthouse --switch-at $((warm + light)) "${given[@]}"
measure after "$out/run"

printf '\n== report\n'
"$program" report "$out/run" --positions "$out/before.json,$out/after.json" --out "$out/report.svg" >"$out/table.md"
cat "$out/table.md"
echo "extended to $to tokens: $(printf '%s/run/step_%08d' "$out" "$all"); the report is $out/report.svg"
