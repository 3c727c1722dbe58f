#!/usr/bin/env bash
# scripts/experiment.sh, which the published experiments share: what it refuses, and which settings a folder takes. That
# runs go on in the same bits is dev/test/restart_split.sh's.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work

# status WANTED PART, options of reproduce_split.sh
status() {
    local wanted=$1 part=$2 status=0 said
    shift 2
    said=$("$root/scripts/reproduce_split.sh" "$@" --preset tiny --program "$program" --device cpu --val 'data/val_*.bin' \
        -- --layers 2 --dense-layers 0 --seq-len 256 --levels 2 --topk 128 "${behind[@]}" 2>&1) || status=$?
    [ "$status" -eq "$wanted" ] && [[ $said == *"$part"* ]] || fail "wanted $wanted and '$part', got $status: $said"
}

test_own_options_are_refused() {
    local word
    for word in "--stop-at 3" --out=other "--resume run" "--attention dense" "--switch-at 4" --dry-run; do
        read -ra behind <<<"$word"
        status 2 "${behind[0]%%=*} is this script's own" own --data 'data/train_*.bin'
    done
    behind=()
    [ ! -e own ] || fail "a folder was made"
}

# Settings that no run could begin with do not stay.
test_settings() {
    behind=()
    status 3 "no file matches nothing" folder --steps 16 --data nothing
    status 0 "| split_12_16 | 12 + 4 |" folder --steps 16 --data 'data/train_*.bin'
    status 2 "was begun with other settings" folder --steps 17 --data 'data/train_*.bin'
    mv folder 'fold [1]*' # a name is no pattern
    status 2 "was begun with other settings" 'fold [1]*' --steps 17 --data 'data/train_*.bin'
    status 0 "| split_12_16 | 12 + 4 |" 'fold [1]*' --steps 16 --data 'data/train_*.bin'
}

# The same words in another folder, or behind another pack, lead to other shards: no table of both.
test_other_shards() {
    behind=()
    mkdir -p elsewhere/data
    "$program" pack text.txt --out elsewhere/made --val-fraction 0.5 >/dev/null
    mv elsewhere/made/train_00000.bin elsewhere/data/train_00000.bin
    cp data/val_00000.bin elsewhere/data
    mkdir begun
    status 3 "no file matches" begun --steps 16 --data 'data/no_*.bin' # its shards are none
    (cd elsewhere && status 0 "| split_12_16 | 12 + 4 |" ../begun --steps 16 --data 'data/train_*.bin'; exit "$wrong") || wrong=1
    status 2 "the shards of --data or --val are not those that begun was begun with" begun --steps 16 --data 'data/train_*.bin'
}

# What somebody else has under the names of the scripts stays, and is told before the first run.
test_files_of_others_stay() {
    local file
    behind=()
    for file in experiment.txt table.md report.svg by_topk.svg report.html; do
        mkdir others
        echo mine >others/$file
        status 2 "others/$file is there, and no script of these wrote it" others --steps 16 --data 'data/train_*.bin'
        [ "$(ls -A others)" = $file ] && [ "$(cat others/$file)" = mine ] || fail "$file did not stay alone"
        rm -r others
    done
    mkdir -p others/split_10_16
    echo mine >others/split_10_16/notes.txt
    status 2 "others/split_10_16 is not empty and holds no run" others --steps 16 --data 'data/train_*.bin'
    [ "$(cat others/split_10_16/notes.txt)" = mine ] || fail "somebody else's notes are gone"
}

head -c 20000 /dev/urandom | base64 >text.txt
"$program" pack text.txt --out data/all --val-fraction 0 >/dev/null || exit 1
mv data/all/train_00000.bin data/train_00000.bin
cp data/train_00000.bin data/val_00000.bin

run_tests test_own_options_are_refused test_settings test_other_shards test_files_of_others_stay
