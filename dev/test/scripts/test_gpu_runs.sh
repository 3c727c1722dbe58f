#!/usr/bin/env bash
# What the experiments on GPUs train on, and the scripts that run them, on a CPU: dev/data/machine_corpus.sh, dev/bench/gpu_hours.sh,
# gpu_ratio.sh, gpu_extend.sh and gpu_large.sh.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work

# An archive holds a file. The list is read whole: who stops reading ends tar with an error.
kept() { # ARCHIVE FILE
    local list
    list=$(tar -tzf "$1")
    [[ $'\n'$list$'\n' == *$'\n'$2$'\n'* ]] || fail "no $2 in $1: $list"
}
equal() { [ "$1" = "$2" ] || fail "'$1', not '$2'"; }
# Sources of unlike kinds below texts/, more than a hundred stretches of eight pieces of 254 bytes, and what must be left out.
make_texts() {
    local i
    mkdir -p texts/a texts/include/c++/13
    for i in $(seq -w 400); do
        seq -f "line %g of $i, grüße" 1 30 >"texts/a/$i.py"
    done
    echo "int x;" >texts/x.h
    echo "template" >texts/include/c++/13/vector # a header of C++'s own has no ending
    echo "read me" >texts/README.md
    cp texts/a/001.py texts/again.py             # a duplicate
    printf 'int a\0b;\n' >texts/binary.c
    printf 'int \xff;\n' >texts/latin.c
    head -c 3000 /dev/zero | tr '\0' x >texts/line.txt
    : >texts/empty.h
    ln -s x.h texts/link.h
    echo "{}" >texts/data.json
}

corpus() { MEGABYTES="" "$root/dev/data/machine_corpus.sh" "$1" "$program" "${@:2}"; }

test_machine_corpus() {
    local pieces
    corpus one 1000 256 texts >one.log 2>&1 || { fail "$(cat one.log)" && return; }
    corpus two 1000 256 texts >/dev/null 2>&1
    cmp one/text.txt two/text.txt || fail "another text the second time"
    equal "$(sed 's/, [0-9]* bytes$//; 4q' one/text.txt | paste -sd ' ')" \
        "Python: 400 files C, C++, CUDA: 2 files documentation: 1 files other sources: 0 files"
    pieces=$(sed -n 's/^training: \([0-9]*\) sequences.*/\1/p' one/text.txt)
    # Each piece is a document and a sequence: BOS, 254 bytes, EOS.
    said=$("$program" info one/train/train_00000.bin)
    [[ $said == *"$((pieces * 256)) tokens"* ]] || fail "$said"
    corpus few 1000 100000 texts >few.log 2>&1
    equal "$? $(grep -c 'name other folders' few.log)" "3 1"
    corpus word some 256 texts >few.log 2>&1
    equal $? 2
}

# No line of the validation text, which has its file's number, is in the training text.
test_validation_is_kept_apart() {
    python3 - "$root" <<'PYTHON' || fail "see above"
import os, re, subprocess, sys
sys.path.insert(0, sys.argv[1] + "/dev/data")
import machine_text
sys.argv = ["machine_text.py", "pieces", "254", "1000", "texts"]
machine_text.main()
def read(name):
    folder = "pieces/" + name
    return b"".join(open(f"{folder}/{piece}", "rb").read() for piece in sorted(os.listdir(folder)))
numbers = {name: set(re.findall(rb" of (\d{3}), gr", read(name))) for name in ("train", "val")}
assert len(numbers["val"]) >= 3 and len(numbers["train"]) > 300, numbers
assert not numbers["val"] & numbers["train"], numbers
for name in ("train", "val"):
    for piece in os.listdir("pieces/" + name):
        text = open(f"pieces/{name}/{piece}", "rb").read()
        assert len(text) == 254 and text.decode(), piece
PYTHON
}

small() { # SCRIPT WORD...
    RANKS=1 DEVICE=cpu PRESET=tiny SEQ=${SEQ:-1024} DATA=$work/data VAL=2 EVAL=2 WARMUP=2 "$root/dev/bench/$1" "${@:2}" "$program" >run.log 2>&1
}
updates() { grep -c "\"attention\":\"$2\"" <(grep '^{"step"' "$1/log.jsonl"); }

# Of 30 s, updates of 6 and 5 s: stage 1 has 3 where the longer tail branches off, with 3 of its own, and 4 at the other, with 2.
test_hours() {
    export SECONDS_PER_UPDATE="6 5" MINUTES=0.5 TAILS="25 50" DECAY=10 EVERY=1000
    small gpu_hours.sh hours lighthouse 1 || { fail "$(tail -n 3 run.log)" && return; }
    equal "$(updates hours/lighthouse_1 lighthouse) $(updates hours/tail50_1 dense) $(updates hours/tail25_1 dense)" "4 3 2"
    grep -q '"bands"' hours/eval/tail50_1.json || fail "no loss by position"
    kept hours/keep/lighthouse_1.tar.gz tail25_1/log.jsonl
    equal "$(cat hours/lighthouse_1.status)" 0
    # Again: what is done stays; a tail that was lost is made anew from its place.
    cp hours/tail50_1/log.jsonl before.jsonl
    rm -r hours/tail25_1 hours/keep
    small gpu_hours.sh hours lighthouse 1 || fail "again: $(tail -n 3 run.log)"
    cmp before.jsonl hours/tail50_1/log.jsonl || fail "a tail that was done was made anew"
    equal "$(updates hours/tail25_1 dense) $(ls hours/keep)" "2 lighthouse_1.tar.gz"
    small gpu_hours.sh hours neither 1
    equal $? 2
    unset SECONDS_PER_UPDATE MINUTES TAILS
}

test_ratio() {
    export TOKENS=4096 BATCH=1 SPLITS="8" LENGTHS=128 TRIALS=1
    small gpu_ratio.sh ratio splits 2 || { fail "$(tail -n 3 run.log)" && return; }
    equal "$(updates ratio/lighthouse_2 lighthouse) $(updates ratio/split_8_16_2 dense)" "2 2"
    kept ratio/keep/splits_2.tar.gz niah/split_8_16_2/summary.json
}

# Of 30 s an arm: 4 Lighthouse updates of 6 s and a tail of 2 of 5 s, or 6 dense ones.
test_extend() {
    local run
    export SECONDS_PER_UPDATE="5 6 5" BASE_MINUTES=0.25 MINUTES=0.5 TAIL=30 FROM=256 BATCH=2 TOPK=128 SEQ=2048
    small gpu_extend.sh extend 1 || { fail "$(tail -n 3 run.log)" && return; }
    equal "$(updates extend/base_1 dense) $(updates extend/dense_1 dense)" "3 6"
    equal "$(updates extend/extended_1/run lighthouse) $(updates extend/extended_1/run dense)" "4 2"
    for run in before_1 dense_1 extended_1; do grep -q '"bands"' "extend/eval/$run.json" || fail "no loss of $run by position"; done
    kept extend/keep/extend_1.tar.gz extended_1/run/log.jsonl
    equal "$(cat extend/extend_1.status)" 0
    unset SECONDS_PER_UPDATE BASE_MINUTES MINUTES TAIL FROM BATCH TOPK SEQ
}

# A row that is done is not measured again, one that fails is told, and a row for more GPUs than there are is refused.
test_large() {
    local large=("$root/dev/bench/gpu_large.sh" large "$program")
    export RANKS=1 DEVICE=cpu PRESET=tiny SEQ=512 OPTIONS="--levels 2 --topk 256 --dense-layers 0" REPEATS=1
    "${large[@]}" 530m >run.log 2>&1 || fail "$(tail -n 3 run.log)"
    equal "$(cut -d'|' -f2,3 large/table.md | tail -n 2 | paste -sd ' ')" " 530m | lighthouse   530m | dense "
    OPTIONS="--levels 99" "${large[@]}" 530m 2b_1m >run.log 2>&1
    equal "$? $(grep -c -e '--levels' run.log) $(ls large/*.jsonl)" "1 1 large/530m.jsonl"
    "${large[@]}" 8b_128k >run.log 2>&1
    equal "$? $(grep -c 'takes 4 GPUs, and there are 1' run.log)" "2 1"
    unset RANKS DEVICE PRESET SEQ OPTIONS REPEATS
}

make_texts
corpus data 1000 1024 texts >data.log 2>&1 || { cat data.log && exit 1; }
run_tests test_machine_corpus test_validation_is_kept_apart test_hours test_ratio test_extend test_large
