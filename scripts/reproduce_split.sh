#!/usr/bin/env bash
# The published experiment: dense attention from scratch for N steps, against 10/16, 11/16 and 12/16 of them under Lighthouse
# attention and the rest dense, from the checkpoint with the same optimizer state and place in the data.
#
#   reproduce_split.sh FOLDER --preset P --data GLOB --val GLOB [--steps N] [--device auto|cuda|cpu] [--program FILE]
#                      [-- OPTIONS OF train]
#
# --preset 530m --steps 16000 is the paper's own (10k+6k, 11k+5k, 12k+4k on 50.3 B tokens); small --steps 1600 takes minutes on
# one GPU, tiny minutes on a CPU. The Lighthouse stage runs once; the splits branch off from its checkpoints. Killed at any point
# and started again with the same words, it goes on where it was; SIGTERM saves first (exit status 75).
# FOLDER receives the runs dense, lighthouse and split_10_16 ... split_12_16, table.md with the paper's figures beside,
# report.svg and report.html.

# shellcheck source=scripts/experiment.sh
source "$(dirname "$0")/experiment.sh"
experiment_begin "$@"

reach dense "$steps" --attention dense

# Each split is trained to its end before stage 1 goes on, so that --keep may delete older checkpoints.
for part in 10 11 12; do
    split=split_${part}_16 switch=$((steps * part / 16))
    if ! has_checkpoint "$split"; then
        reach lighthouse "$switch"
        branch "$split" "$(checkpoint lighthouse "$switch")"
    fi
    reach "$split" "$steps" --attention dense
done

printf '\n== report\n'
runs=("$out"/{dense,split_10_16,split_11_16,split_12_16})
run_program report "${runs[@]}" --published --out "$out/report.html" >/dev/null
run_program report "${runs[@]}" --published --out "$out/report.svg" >"$out/table.md"
cat "$out/table.md"
echo "pictures: $out/report.svg, $out/report.html"
