#!/usr/bin/env bash
# What becomes of a run whose folder or log somebody moves, deletes or replaces while it trains: it is followed, or made anew, and
# said; nothing of another run that has the folder's name meanwhile is touched.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0
seq 4000 >text
"$program" pack text --out data >/dev/null || exit 1

trains() { [ "$(grep -c tok_per_s "$1/log.jsonl" 2>/dev/null)" -gt 3 ] 2>/dev/null; } # RUN
# Begins a run that saves at its end alone, and waits for its first updates.
begin() { # RUN
    "$program" "${smallest_train[@]}" --out "$1" --steps 1000000 --checkpoint-every 0 >/dev/null 2>errors &
    job=$!
    await trains "$1" || fail "$1 does not train"
}
# Ends it by a signal, at which it saves.
end() { # STATUS
    kill -TERM "$job"
    wait "$job"
    status=$?
    [ $status -eq "$1" ] || fail "status $status: $(cat errors)"
}
told() { grep -q "$1" errors || fail "not told: $1; but $(cat errors)"; }
checkpoints() { find "$1" -maxdepth 1 -name 'step_*' | wc -l; }
steps() { grep -c tok_per_s "$1"; }

test_folder_is_moved() {
    begin one
    mv one two
    "$program" "${smallest_train[@]}" --out one --steps 3 >/dev/null || fail "no other run can have the name"
    end 75
    told 'one was moved under the run, which goes on in .*/two$'
    told 'go on with --resume .*/two$'
    [ "$(checkpoints one)" -eq 1 ] || fail "the other run has $(ls one)"
    [ "$(checkpoints two)" -eq 1 ] || fail "the run has $(ls two)"
    "$program" info one --verify >/dev/null || fail "the other run is spoilt"
    [ "$(steps one/log.jsonl)" -eq 3 ] || fail "the other run's log has lines of the first"
    "$program" train --resume two --steps "$(($(steps two/log.jsonl) + 1))" >/dev/null 2>errors || fail "$(cat errors)"
    [ ! -s errors ] || fail "$(cat errors)"
}

test_folder_is_deleted() {
    begin gone
    rm -rf gone
    end 75
    told 'gone was deleted under the run: it is made anew'
    [ "$(checkpoints gone)" -eq 1 ] || fail "the run has $(ls gone)"
    "$program" info gone --verify >/dev/null || fail "it is no run"
}

test_other_folder_in_its_place() {
    begin lost
    rm -rf lost
    "$program" "${smallest_train[@]}" --out lost --steps 3 >/dev/null || fail "no other run can have the name"
    end 3
    told 'lost is another folder than the run began in'
    [ "$(checkpoints lost)" -eq 1 ] || fail "the other run has $(ls lost)"
    "$program" info lost --verify >/dev/null || fail "the other run is spoilt"
}

# As programs do that rotate logs.
test_log_is_taken_away() {
    begin rotated
    mv rotated/log.jsonl rotated/log.jsonl.1
    end 75
    told 'rotated/log.jsonl was taken away or replaced under the run'
    [ "$(wc -l <errors)" -eq 2 ] || fail "told $(wc -l <errors) lines"
    cat rotated/log.jsonl.1 rotated/log.jsonl >both
    [ "$(steps both)" -eq "$(sed -n 's/.*"step":\([0-9]*\),"tokens.*/\1/p' both | tail -n 1)" ] || fail "lines are lost"
}

test_log_is_somebody_elses() {
    begin foreign
    echo mine >mine
    mv mine foreign/log.jsonl
    end 75
    told 'what the run logs from here on is lost: foreign/log.jsonl is not this program'
    [ "$(cat foreign/log.jsonl)" = mine ] || fail "it is written to"
}

run_tests test_folder_is_moved test_folder_is_deleted test_other_folder_in_its_place test_log_is_taken_away test_log_is_somebody_elses
