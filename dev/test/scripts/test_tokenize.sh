#!/usr/bin/env bash
# scripts/tokenize.py: the ids of the tokenizers library on awkward texts in every format, marks, parts that go on, and
# what is refused. Where PyPI cannot be reached the one test is skipped.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work
venv=$root/build/tokenize-env
case=$root/dev/test/support/tokenize_case.py

tokenize() { # INPUT... OPTION...
    "$root/scripts/tokenize.py" "${model:-case/model}" "$@" --venv "$venv" --binary "${binary:-$program}" --workers 2 \
        >out.log 2>err.log
}
# It ends with this status, and standard error says this.
expect() { # STATUS PART INPUT... OPTION...
    local status=0 wanted=$1 part=$2
    shift 2
    tokenize "$@" || status=$?
    [ $status -eq "$wanted" ] && grep -qF -- "$part" err.log && return
    fail "status $status, not $wanted with \"$part\": tokenize.py $*"
    cat err.log >&2
}
hold() { "$venv/bin/python" "$case" hold case "$@" || fail "other ids in $*"; }

# Without the packages nothing here can be run: an empty model is refused behind them.
installed() {
    mkdir -p build case/model
    tokenize nothing --out none
    ! grep -qE 'PyPI|python3-venv' err.log
}

test_ids() {
    "$venv/bin/python" "$case" make case || fail "no case"
    expect 0 "documents begin with 0 (<|begin|>)" case/texts --out whole
    hold whole
    grep -q "left out: 2 empty" out.log || fail "nothing is said of empty texts"
    "$program" info 'whole/*.bin' --verify >/dev/null || fail "damaged shards"
}

test_ranges() { "$venv/bin/python" "$case" ranges case "$root/scripts" || fail "other lines"; }

test_marks() {
    sed -i 's/{/{"add_bos_token": false, /' case/model/tokenizer_config.json
    expect 0 "documents end with 1 (<|end|>)" case/texts --out bare
    hold bare no
    expect 0 "documents begin with 0" case/texts --out begun --bos yes
    hold begun
    expect 0 "documents end with 2 (<|turn|>)" case/texts/g.txt --out turned --eos 2
    expect 2 "no id below the vocab_size 640 of case/model/config.json" case/texts/g.txt --out none --eos 640
    ! grep -q ordinary err.log || fail "a special token is called ordinary"
    expect 0 "warning: --eos: 100 is an ordinary token of case/model/tokenizer.json" case/texts/g.txt --out cut --eos 100
    cp -r case/model ordinary
    rm ordinary/generation_config.json
    sed -i 's/"eos_token_id": 1/"eos_token_id": 100/' ordinary/config.json
    model=ordinary expect 0 "warning: eos_token_id of ordinary: 100 is an ordinary token" case/texts/g.txt --out cut_too
    sed -i 's/"add_bos_token": false, //' case/model/tokenizer_config.json
}

# What the script writes, niah asks of a model.
test_needle() {
    local words=("${smallest_train[@]/#264/640}")
    expect 0 "documents begin" --needle needle.json
    "$venv/bin/python" "$case" needle case needle.json || fail "other needles"
    expect 0 "documents begin" --needle needle.json # its own file may be replaced
    expect 2 "holds no needles" --needle case/model/config.json
    expect 2 "--needle takes no INPUT" case/texts --needle other.json
    expect 2 "INPUT and --out are needed" --field text
    expect 0 "documents end" --out behind case/texts/g.txt
    "$program" "${words[@]/#data/whole}" --steps 1 --out run >train.log 2>&1 || fail "no run"
    "$program" niah --model run --needle needle.json --data 'whole/*.bin' --lengths 64 --depths 50 --trials 2 --device cpu \
        >out.log 2>err.log || { fail "no trials"; cat err.log >&2; }
    grep -qF '"needle": "\nThe passkey is D.\n"' out.log || fail "no summary"
    mv case/model case/kept
    mv case/words case/model
    expect 3 "has no token for each digit" --needle other.json
    [ ! -e other.json ] || fail "other.json is written"
    mv case/model case/words
    mv case/kept case/model
}

# A pack that fails, or waits, at its second part: the parts before it are kept, and the result is the same.
test_goes_on() {
    local parts=(--part-bytes 200000 --val-fraction 0)
    local status=0 pid
    cat >shim <<'SHIM'
#!/usr/bin/env bash
[ "$1" = pack ] && [ ! -e "$SHIM_COUNT" ] && { touch "$SHIM_COUNT"; exec "$SHIM_PROGRAM" "$@"; }
if [ "$SHIM_WAITS" = 1 ]; then touch waits; exec sleep 600; fi
echo "shim: no room" >&2
exit 3
SHIM
    chmod +x shim
    export SHIM_PROGRAM=$program SHIM_COUNT=$PWD/count SHIM_WAITS=0
    tokenize case/texts --out parts "${parts[@]}" || fail "no parts"
    hold parts
    binary=./shim expect 3 "pack: shim: no room (the ids of case/texts/" case/texts --out again "${parts[@]}"
    [ -e again/.tokenizing/part_00000.done ] || fail "the first part is not kept"
    expect 2 "was begun with other settings (seed)" case/texts --out again "${parts[@]}" --seed 2
    rm count
    SHIM_WAITS=1 binary=./shim tokenize case/texts --out again "${parts[@]}" &
    pid=$!
    await test -e waits
    pkill -TERM -P $pid
    wait $pid || status=$?
    [ $status -eq 75 ] || { fail "status $status at a signal"; cat err.log >&2; }
    echo mine >again/train_00000.bin # by somebody else, meanwhile
    expect 2 "again holds shards already" case/texts --out again "${parts[@]}"
    [ "$(cat again/train_00000.bin)" = mine ] || fail "shards of others are overwritten"
    rm again/train_00000.bin
    exec 8>again/.tokenizing/lock
    flock 8
    expect 2 "another tokenize.py is at work there" case/texts --out again "${parts[@]}"
    exec 8>&-
    expect 0 "going on in" case/texts --out again "${parts[@]}"
    diff -r parts again || fail "another result than that of a run that was not stopped"
    [ ! -e again/.tokenizing ] || fail "the plan is left"
}

# One is killed as soon as it is there, long before it has read anything.
test_worker_killed() {
    cat >killer <<'SHIM'
#!/usr/bin/env bash
until pkill -KILL -P $PPID -f spawn_main; do :; done
exec cat >/dev/null
SHIM
    chmod +x killer
    binary=./killer expect 4 "input case/texts/a.jsonl, or one that is read beside it: a worker was killed" case/texts/a.jsonl --out none
}

# Files that are the same are one, also by links; a linked folder is read; backups and partial downloads are left out.
test_same_files() {
    local name
    mkdir -p same/in elsewhere
    cp case/texts/a.jsonl same/in/a.jsonl
    cp case/texts/a.jsonl same/in/copy.jsonl
    ln -s a.jsonl same/in/link.jsonl
    for name in old.jsonl.bak new.jsonl.part; do cp case/texts/g.txt "same/in/$name"; done
    cp case/texts/g.txt elsewhere/g.txt
    ln -s ../../elsewhere same/in/linked
    ln -s . elsewhere/loop
    printf 'alike' >same/in/one.txt
    printf 'alike' >same/in/two.txt
    expect 0 "left out as copy: same/in/copy.jsonl, same/in/link.jsonl" same/in --out once
    expect 0 "left out as backup: same/in/old.jsonl.bak" same/in --out once_more
    grep -qF "left out as partial download: same/in/new.jsonl.part" err.log || fail "a partial download is not named"
    expect 0 "documents end" case/texts/a.jsonl elsewhere/g.txt same/in/one.txt --out apart
    documents() { grep -o '[0-9]* documents' "$1"; }
    [ "$(documents out.log)" = "156 documents" ] || fail "$(documents out.log) apart"
    tokenize same/in --out again_once
    [ "$(documents out.log)" = "157 documents" ] || fail "$(documents out.log), not 157: two texts may be alike"
}

# What is no file is left out of a folder by name, and refused where it is named: a pipe would be waited for.
test_no_files() {
    mkdir -p odd/deep
    printf '{"text": "one"}\n' >odd/deep/a.jsonl
    ln -s nowhere odd/dangling
    mkfifo odd/pipe
    expect 0 "left out as dangling link: odd/dangling" odd --out odd_out --val-fraction 0
    grep -qF "left out as pipe: odd/pipe" err.log || fail "a pipe in a folder is not named"
    expect 3 "input odd/pipe is a pipe, and files are read more than once" odd/pipe --out none
    expect 3 "input odd/dangling is a dangling link, no file" odd/dangling --out none
    expect 3 "** for folders of any depth is not taken" 'odd/**/*.jsonl' --out none
    expect 0 "documents end" 'odd/*/*.jsonl' --out odd_some --val-fraction 0
    rm odd/dangling odd/pipe
    echo "about these texts" >odd/README.md
    expect 0 "plain text beside tables or JSON lines, a document each: odd/README.md" odd --out odd_readme --val-fraction 0
    expect 2 "--field body is for tables and JSON lines, and no input is one" odd/README.md --field body --out none
    expect 2 "--max-bad nan is a share, from 0 to 1" odd --out none --max-bad nan
}

# A signal in the midst of the inputs, before a worker is there: a listing that waits at a pipe in a file's place.
test_early_signal() {
    local pid status=0
    cp -r case/model waiting
    rm waiting/tokenizer.json
    mkfifo waiting/tokenizer.json
    "$root/scripts/tokenize.py" waiting case/texts --venv "$venv" --binary "$program" --out none >out.log 2>err.log &
    pid=$!
    exec 7>waiting/tokenizer.json # opens when the program has opened its other end
    kill -TERM $pid
    exec 7>&-
    wait $pid || status=$?
    [ $status -eq 75 ] || { fail "status $status at an early signal"; cat err.log >&2; }
}

# What pack says of the validation's share is passed on.
test_validation_is_said() {
    expect 0 "validation is the end of standard input" case/texts/g.txt --out cut_off
}

# Neither text nor what the name says: nothing of it becomes a document.
test_no_text() {
    local i
    mkdir -p no
    printf '[{"text": "one"}, {"text": "two"}]' >no/array.json
    printf '"one"\n"two"\n' >no/strings.jsonl
    printf 'id,text\n1,one\n' >no/table.csv
    printf '<!DOCTYPE html><html>404</html>' >no/page.parquet
    for i in array.json strings.jsonl table.csv page.parquet; do
        expect 3 "no/$i holds no JSON object a line, Parquet or Arrow" "no/$i" --out none
    done
    printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n' >no/pointer.txt
    expect 3 "no/pointer.txt is a Git LFS pointer: git lfs pull" no/pointer.txt --out none
    printf '%%PDF-1.4\nwords\n' >no/book.txt
    expect 3 "no/book.txt is a PDF document" no/book.txt --out none
    printf '\036{"text": "one"}\n' >no/marks.json
    expect 3 "JSON with RFC 7464's marks" no/marks.json --out none
    printf '"one"\n"two"\n"three"\n' >no/strings.txt
    expect 3 "no/strings.txt is JSON arrays or strings" no/strings.txt --out none
    printf '1\t{"text": "one"}\n2\t{"text": "two"}\n3\t{"text": "three"}\n' >no/behind.txt
    expect 3 "no/behind.txt is JSON behind something else" no/behind.txt --out none
    { for i in {1..40}; do printf 'a\001\002\003\004'; done; } >no/controls
    expect 3 "no/controls is binary: it is full of control characters" no/controls --out none
    printf 'PAR1 and no more' >no/cut.parquet
    expect 3 "input no/cut.parquet cannot be read" no/cut.parquet --out none
    printf '(lp0\nVone\np1\naVtwo\np2\na.' >no/texts.pt
    expect 3 "input no/texts.pt is a pickle: if you trust it" no/texts.pt --out none
    printf 'WARC/1.0\n' >no/crawl.wet
    expect 3 "a WARC archive: pack names the command" no/crawl.wet --out none
    printf 'caf\351 au lait\n' >no/latin.txt
    expect 3 "no/latin.txt: is not UTF-8 at byte 3: iconv" no/latin.txt --out none
    { head -c 5000 /dev/zero | tr '\0' a; printf 'b\0c'; } >no/zero.txt
    expect 3 "no/zero.txt: has zero bytes" no/zero.txt --out none
    [ ! -e none ] || fail "what was refused leaves a folder"
}

# Tables that libraries read a part of in silence: a stream without its end, or with another behind it, columns of one name.
test_tables() {
    "$venv/bin/python" - <<'TABLES' || fail "no tables"
import os
import pyarrow
import pyarrow.parquet
os.makedirs("tables")
rows = [f"text {i}" for i in range(40)]
with pyarrow.ipc.new_stream("tables/whole.arrow", pyarrow.schema([("text", "string")])) as stream:
    for i in range(0, 40, 10):
        stream.write_table(pyarrow.table({"text": rows[i:i + 10]}))
with open("tables/whole.arrow", "rb") as file:
    whole = file.read()
reader = pyarrow.memory_map("tables/whole.arrow")
pyarrow.ipc.open_stream(reader).read_next_batch()
for name, data in (("cut", whole[:reader.tell()]), ("two", whole + whole)):
    with open(f"tables/{name}.arrow", "wb") as file:
        file.write(data)
columns = [pyarrow.array(rows), pyarrow.array(rows)]
pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, ["text", "text"]), "tables/twice.parquet")
pyarrow.parquet.write_table(pyarrow.table({"text": [row.encode() for row in rows]}), "tables/bytes.parquet")
pyarrow.parquet.write_table(pyarrow.table({"a.b": rows}), "tables/dot.parquet")
pyarrow.parquet.write_table(pyarrow.table({"a.b": rows, "a": [{"b": row} for row in rows]}), "tables/both.parquet")
TABLES
    expect 0 "documents end" tables/whole.arrow --out stream
    grep -q "40 documents" out.log || fail "not all of a stream"
    expect 3 "tables/cut.arrow: lacks the mark of an Arrow stream's end" tables/cut.arrow --out none
    expect 3 "bytes behind the end of its Arrow stream" tables/two.arrow --out none
    expect 3 "has 2 columns that text names (text, text)" tables/twice.parquet --out none
    expect 3 "has the type binary in its column text" tables/bytes.parquet --out none
    expect 0 "documents end" tables/dot.parquet --field a.b --out dots
    expect 3 "has 2 columns that a.b names" tables/both.parquet --field a.b --out none
    printf '{"a": {"b": "%s"}}\n' one two three >tables/lines.jsonl
    printf '{"a": {"b": "four"}, "a.b": "five"}\n' >>tables/lines.jsonl
    expect 0 "documents end" tables/lines.jsonl --field a.b --max-bad 0.5 --out some
    grep -q "3 documents.*left out: 1 malformed" out.log || fail "a line with two fields that are meant is taken"
}

test_refused() {
    expect 2 "holds shards already" case/texts --out whole
    expect 3 "of them in case/texts/a.jsonl) have no text in the field body" case/texts/a.jsonl --out none --field body
    printf '{"text": ""}\n' >empty.jsonl
    expect 3 "no text in the field text of empty.jsonl" empty.jsonl --out none
    expect 3 "has no column body, but" case/texts/d.parquet --out none --field body
    [ ! -e none ] || fail "what was refused leaves a folder"
    head -c 100000 /dev/urandom >noise
    printf '\0\0\0' >>noise
    expect 3 "neither Parquet, Arrow, JSON lines nor text" noise --out none
    expect 3 "there is no file" nothing --out none
    head -c 3000 case/texts/b.json.gz >cut.gz
    expect 3 "input cut.gz" cut.gz --out none
    head -c 3000 case/texts/c.jsonl.zst >cut.zst
    expect 3 "input cut.zst" cut.zst --out none
    binary=nowhere expect 2 "nowhere is not there" case/texts --out none
    sed -i 's/"vocab_size": 640/"vocab_size": 300/' case/model/config.json
    expect 3 "and the model's vocab_size is 300" case/texts/a.jsonl --out none
    echo '{}' >case/model/config.json
    expect 3 "has no vocab_size" case/texts --out none
    rm case/model/tokenizer.json
    expect 3 "is not there: MODEL is a Hugging Face folder" case/texts --out none
}

# Where PyPI cannot be reached, one line says so, and what to do.
test_offline() {
    python3 -c 'import tokenizers, pyarrow' 2>/dev/null && return
    venv=$PWD/venv PIP_NO_INDEX=1 expect 3 "without a network install them elsewhere" nothing --out none
    mkdir other
    venv=$PWD/other expect 2 "is there, and no virtual environment" nothing --out none
}

if installed; then
    run_tests test_ids test_ranges test_needle test_marks test_goes_on test_worker_killed test_same_files test_no_files \
        test_early_signal test_validation_is_said test_no_text test_tables test_refused test_offline
else
    echo "[==========] Running 1 test(s)."
    echo "[  SKIPPED ] test_tokenize"
    echo "skipped: $(tail -1 err.log)"
fi
