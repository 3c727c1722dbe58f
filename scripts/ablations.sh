#!/usr/bin/env bash
# The published grid around k 1536, p 4, L 3, scorer norm at 98,304 tokens: k in {1536, 2048, 3072, 4096, 6144}, p in {2, 4, 8},
# L in {3, 4, 5} at p 2, scorer in {norm, dilated, gla}; each point 10/16 of N steps under Lighthouse attention, the rest
# dense; and dense from scratch beside them.
#
#   ablations.sh FOLDER --preset P --data GLOB --val GLOB [--steps N] [--device auto|cuda|cpu] [--program FILE]
#                [-- OPTIONS OF train]
#
# k goes in proportion to the tokens of a sequence, to the nearest multiple of 128 and not below it. What is impossible at the
# preset, or the same as another point, is listed as skipped with why. Killed at any point and started again with the same
# words, it goes on where it was; SIGTERM saves first (exit status 75).
# FOLDER receives a run for every point, table.md (with what was skipped), report.svg and report.html of all runs, and a picture
# of each part of the grid: by_topk.svg, by_pool.svg, by_levels.svg, by_scorer.svg.

# shellcheck source=scripts/experiment.sh
source "$(dirname "$0")/experiment.sh"
experiment_begin "$@"

tokens=$(preset_setting seq-len)
switch=$((steps * 10 / 16))
declare -A settings=() # of every run that is possible, by its name
declare -A parts=()    # names of the runs of a part of the grid
order=() skipped=()

scaled() {
    local k=$((($1 * tokens / 98304 + 64) / 128 * 128))
    echo $((k < 128 ? 128 : k))
}

# Takes a point into a part of the grid, or notes why not: point PART k p L SCORER, k as published.
point() {
    local part=$1 k complaint status=0 name words
    k=$(scaled "$2")
    name=k${k}_p${3}_L${4}_$5
    words="--topk $k --pool $3 --levels $4 --scorer $5 --switch-at $switch"
    case " ${parts[$part]:-} " in
    *" $name "*) skipped+=("k $2 (p $3, L $4, $5): at $tokens tokens k $k, as another point"); return ;;
    esac
    if [ -z "${settings[$name]:-}" ]; then
        # shellcheck disable=SC2086 # words are words
        complaint=$("$program" train --dry-run "${common[@]}" $words 2>&1 >/dev/null) || status=$?
        case $status in
        0) settings[$name]=$words; order+=("$name") ;;
        2 | 4) skipped+=("k $2 (p $3, L $4, $5): ${complaint##*error: }"); return ;;
        *) fail "$complaint" ;;
        esac
    fi
    parts[$part]="${parts[$part]:-} $name"
}

for k in 1536 2048 3072 4096 6144; do point topk $k 4 3 norm; done
for p in 2 4 8; do point pool 1536 $p 3 norm; done
for L in 3 4 5; do point levels 1536 2 $L norm; done
for scorer in norm dilated gla; do point scorer 1536 4 3 $scorer; done

[ ${#order[@]} -gt 0 ] || fail "no point of the grid is possible: ${skipped[0]}"
printf 'the grid at %d tokens: dense and %d points\n' "$tokens" ${#order[@]}
[ ${#skipped[@]} -eq 0 ] || printf 'skipped: %s\n' "${skipped[@]}"

reach dense "$steps" --attention dense
for name in "${order[@]}"; do
    read -ra words <<<"${settings[$name]}"
    reach "$name" "$steps" "${words[@]}"
done

printf '\n== report\n'
for part in topk pool levels scorer; do
    read -ra names <<<"${parts[$part]:-}"
    [ ${#names[@]} -eq 0 ] || run_program report "$out/dense" "${names[@]/#/$out/}" --out "$out/by_$part.svg" >/dev/null
done
run_program report "$out/dense" "${order[@]/#/$out/}" --out "$out/report.html" >/dev/null
run_program report "$out/dense" "${order[@]/#/$out/}" --out "$out/report.svg" >"$out/table.md"
[ ${#skipped[@]} -eq 0 ] || { printf '\nSkipped:\n'; printf -- '- %s\n' "${skipped[@]}"; } >>"$out/table.md"
cat "$out/table.md"
echo "pictures: $out/report.svg, $out/report.html, $out/by_*.svg"
