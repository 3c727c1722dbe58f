#!/usr/bin/env bash
# What becomes of output that nobody reads: training goes on, saves and ends, and its log is whole; commands that only print end
# quietly. A full pipe stands for a pager that is stopped, a launcher that hangs, and a terminal after Ctrl-S.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0
train=("${smallest_train[@]}")
steps=40

# A pipe that is full, and that descriptor 9 keeps open; nobody reads it.
full_pipe() {
    rm -f pipe
    mkfifo pipe
    exec 9<>pipe
    head -c 65536 /dev/zero >&9
}
whole_log() { # RUN STEPS
    [ "$(grep -c '"tok_per_s"' "$1/log.jsonl")" -eq "$2" ] || fail "$1 has not all steps in its log"
    [ "$(tail -c 2 "$1/log.jsonl" | od -An -c | tr -d ' ')" = '}\n' ] || fail "the log of $1 ends within a line"
}
saved() { [ -f "$(printf '%s/step_%08d/trainer/state.json' "$1" "$2")" ] || fail "$1 has not saved step $2"; }
# The status of a command that must end: most take less than a second.
status_of() { timeout -s KILL 120 "$@"; status=$?; }
trains() { [ "$(grep -c tok_per_s "$1/log.jsonl" 2>/dev/null)" -gt 3 ] 2>/dev/null; } # RUN

test_full_pipe() {
    full_pipe
    status_of "$program" "${train[@]}" --out full --steps $steps >pipe 2>errors
    [ $status -eq 0 ] || fail "status $status: $(cat errors)"
    whole_log full $steps
    saved full $steps
    status_of "$program" "${train[@]}" --out both --steps $steps >pipe 2>&1
    [ $status -eq 0 ] || fail "status $status, with standard error in the pipe"
    saved both $steps
}

test_signal_at_full_pipe() {
    full_pipe
    timeout -s KILL 600 "$program" "${train[@]}" --out stopped --steps 1000000 >pipe 2>&1 &
    local job=$! step children
    await trains stopped
    read -ra children <"/proc/$job/task/$job/children"
    kill -TERM "${children[@]}"
    wait $job
    status=$?
    [ $status -eq 75 ] || fail "status $status"
    step=$(grep -c '"tok_per_s"' stopped/log.jsonl)
    [ "$step" -gt 3 ] || fail "it did not train"
    saved stopped "$step"
}

# What finds room again is told, with how much was left out, and last the end of the run; all lines are whole.
test_gap_is_told() {
    full_pipe
    # The program waits two seconds for a reader, and the reader here for nothing: it comes before the end.
    (hold gap told 4000; exec timeout -s KILL 600 "$program" "${train[@]}" --out gap --steps 4000) >pipe 2>errors &
    local job=$!
    held gap
    cat <&9 >seen.txt &
    local reader=$!
    go_on gap
    wait $job
    status=$?
    await grep -aq '^done: 4000 steps' seen.txt || fail "the end is not told"
    kill $reader
    wait $reader 2>/dev/null
    [ $status -eq 0 ] || fail "status $status: $(cat errors)"
    whole_log gap 4000
    grep -aq '^\[[1-9][0-9]* messages are left out here' seen.txt || fail "nothing is said of what was left out"
    local shown left
    shown=$(grep -ac '^step [0-9]*/4000  dense  loss .* left$' seen.txt)
    left=$(grep -ao '^\[[1-9][0-9]* messages' seen.txt | tr -dc '0-9\n' | awk '{ n += $1 } END { print n + 0 }')
    [ $((shown + left)) -ge 4000 ] || fail "$shown lines are shown and $left left out"
}

test_reader_gone() {
    "$program" "${train[@]}" --out gone --steps $steps 2>errors | head -n 1 >/dev/null
    status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] && [ ! -s errors ] || fail "status $status: $(cat errors)"
    whole_log gone $steps
    saved gone $steps
    "$program" "${train[@]}" --out quiet --steps $steps 2>&1 | true
    [ "${PIPESTATUS[0]}" -eq 0 ] || fail "status ${PIPESTATUS[0]}, with standard error gone too"
    saved quiet $steps
    status_of "$program" "${train[@]}" --out closed --steps $steps >&- 2>&-
    [ $status -eq 0 ] || fail "status $status with both closed"
    whole_log closed $steps
    "$program" pack text --out packed --val-fraction 0 2>errors | true
    [ "${PIPESTATUS[0]}" -eq 0 ] && [ -f packed/train_00000.bin ] || fail "pack: status ${PIPESTATUS[0]}"
}

test_disk_full() {
    status_of "$program" "${train[@]}" --out disk --steps $steps >/dev/full 2>errors
    [ $status -eq 0 ] || fail "status $status: $(cat errors)"
    [ "$(grep -c 'standard output cannot be written: No space left' errors)" -eq 1 ] || fail "said: $(cat errors)"
    whole_log disk $steps
    status_of "$program" "${train[@]}" --out disk2 --steps $steps >/dev/full 2>/dev/full
    [ $status -eq 0 ] || fail "status $status, with standard error on it too"
    status_of "$program" info full/step_000000$steps >/dev/full 2>errors
    [ $status -eq 3 ] && grep -q 'cannot write to standard output' errors || fail "info: $status: $(cat errors)"
    # Rows that are flushed one by one are lost one by one.
    status_of "$program" bench attention --attention dense --heads 1 --kv-heads 1 --head-dim 64 --seq-len 64 --repeats 1 \
        --device cpu >/dev/full 2>errors
    [ $status -eq 3 ] && grep -q 'cannot write all to standard output' errors || fail "bench: $status: $(cat errors)"
}

# Descriptor 8 is a pipe whose reader has gone.
pipe_without_reader() {
    exec 8> >(exec true)
    wait $!
}
# Of commands whose output is all there is: as any program that prints into a pipe, from whatever started it.
test_printing_ends() {
    local words
    pipe_without_reader
    for words in "info full" "info full --verify" "eval --model full --data data/train_*.bin" "generate --model full --max-bytes 8"; do
        # shellcheck disable=SC2086 # words
        (set -f; exec "$program" $words >&8 2>errors)
        status=$?
        [ $status -eq 141 ] && [ ! -s errors ] || fail "$words: status $status: $(cat errors)"
        # shellcheck disable=SC2086
        (set -f; trap '' PIPE; exec "$program" $words >&8 2>errors)
        status=$?
        [ $status -eq 141 ] && [ ! -s errors ] || fail "$words, SIGPIPE ignored: status $status: $(cat errors)"
    done
    exec 8>&-
}

# They have nowhere to print to; what writes files does.
test_closed_output() {
    local words
    for words in "info full" "eval --model full --data data/train_*.bin" "generate --model full --max-bytes 8" \
        "niah --model full --lengths 64 --trials 1 --depths 0"; do
        # shellcheck disable=SC2086
        (set -f; "$program" $words >&- 2>errors)
        status=$?
        [ $status -eq 2 ] && grep -q 'error: standard output is closed, and the result would go there' errors ||
            fail "$words: status $status: $(cat errors)"
    done
    "$program" niah --model full --lengths 64 --trials 1 --depths 0 --out needles >&- 2>errors
    status=$?
    [ $status -eq 0 ] && [ -s needles/summary.json ] || fail "niah --out: status $status: $(cat errors)"
    "$program" export --model full --out handed >&- 2>errors
    status=$?
    [ $status -eq 0 ] && [ -s handed/model.safetensors ] || fail "export: status $status: $(cat errors)"
}

# Lines of progress wait for nobody.
test_progress_at_full_pipe() {
    full_pipe
    status_of "$program" niah --model full --lengths 64 --trials 1 --depths 0 >result 2>pipe
    [ $status -eq 0 ] && grep -q retrieval_rate result || fail "niah: status $status"
    # An evaluation of many seconds, which tells from the first on, and is ended there.
    seq 1 300000 >many && "$program" pack many --out much --val-fraction 0 >/dev/null 2>&1
    python3 - "$program" <<'END' || fail "eval does not tell on a terminal how far it is"
import os, pty, sys
seen = b""
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "eval", "--model", "full", "--data", "much/train_*.bin", "--seq-len", "2"])
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    seen += piece
    if b" sequences, " in seen and b" s left" in seen:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        sys.exit(0)
print(seen[-300:])
sys.exit(1)
END
}

# An error that ends training is told, through the queue too.
test_error_is_told() {
    status_of "$program" "${train[@]}" --out error --val 'none_*.bin' --val-batches 1 2>errors >/dev/null
    [ $status -eq 3 ] && grep -q '^train_gpt_lighthouse: error: --val: no file matches' errors || fail "$status: $(cat errors)"
}

seq 1 20000 >text
split -l 100 text part_ && "$program" pack part_* --out data --val-fraction 0.01 >/dev/null 2>&1
# Launchers that carry two streams mix parts of lines: each line is one write.
test_whole_lines() {
    python3 - "$program" >seen.txt <<'PY' || fail "$(cat seen.txt)"
import socket, subprocess, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
shape = "--preset tiny --layers 1 --seq-len 256 --levels 2 --topk 128 --dense-layers 0 --repeats 1".split()
bench = subprocess.Popen([sys.argv[1], "bench", "step", "--device", "cpu", *shape], stderr=theirs, stdout=subprocess.DEVNULL)
theirs.close()
writes = list(iter(lambda: ours.recv(65536), b""))
torn = [text for text in writes if not text.endswith(b"\n")]
print(len(writes), "writes, torn:", torn[:3])
sys.exit(bench.wait() != 0 or len(writes) < 10 or len(torn) > 0)
PY
}

run_tests test_whole_lines test_full_pipe test_signal_at_full_pipe test_gap_is_told test_reader_gone test_disk_full test_printing_ends \
    test_error_is_told test_closed_output test_progress_at_full_pipe
