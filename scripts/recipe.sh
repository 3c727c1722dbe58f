# shellcheck shell=bash
# What the launchers of the paper's recipe share: run_530m.sh and slurm/*.sbatch take the folders DATA and OUT, options of train
# behind them, and the same variables. An option that is given takes the place of the recipe's own. Sourced.
#
# Variables: STEPS, SWITCH (10/16 of STEPS), PRESET=530m, DEVICE=cuda, CHECKPOINT_EVERY, KEEP=4, PROGRAM.
given=()
# What a launcher refuses, as the program does: one line, status 2.
refuse() { echo "${launcher:-$(basename "$0")}: $*" >&2; exit 2; }

# The value of an option among those given, or another.
given_or() { # NAME VALUE
    local i
    for ((i = 0; i < ${#given[@]}; i++)); do
        case ${given[i]} in
        "--$1") echo "${given[i + 1]:-}"; return ;;
        "--$1="*) echo "${given[i]#*=}"; return ;;
        esac
    done
    echo "$2"
}
is_given() { case " ${given[*]} " in *" --$1 "* | *" --$1="*) return 0 ;; *) return 1 ;; esac; }
setting() { is_given "$1" || words+=("--$1" "$2"); } # NAME VALUE, into `words`

# Sets program, out, steps and `words`, all that train is told: recipe STEPS CHECKPOINT_EVERY SETTINGS DATA OUT [OPTION...],
# SETTINGS being pairs of one launcher in one word.
recipe() {
    local own i data=$4
    read -ra own <<<"$3"
    out=$5 given=("${@:6}")
    program=${PROGRAM:-$repository/build/train_gpt_lighthouse}
    [ -x "$program" ] || refuse "$program is not there: make it, or name it with PROGRAM="
    holds "$data" "train_*.bin" || refuse "$data has no train_*.bin: make them with pack (docs/data.md)"
    steps=$(given_or steps "${STEPS:-$1}")
    [[ $steps =~ ^[1-9][0-9]*$ ]] || refuse "'$steps' updates (STEPS) must be a whole number of at least 1"
    words=(--data "$data/train_*.bin" --out "$out" --resume auto)
    setting steps "$steps"
    setting switch-at "${SWITCH:-$((steps * 10 / 16))}"
    setting preset "${PRESET:-530m}"
    setting device "${DEVICE:-cuda}"
    setting checkpoint-every "${CHECKPOINT_EVERY:-$2}"
    setting keep "${KEEP:-4}"
    for ((i = 0; i < ${#own[@]}; i += 2)); do setting "${own[i]}" "${own[i + 1]}"; done
    if holds "$data" "val_*.bin"; then setting val "$data/val_*.bin"; fi
    words+=("${given[@]}")
}
