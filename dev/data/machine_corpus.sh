#!/usr/bin/env bash
# Shards of this machine's sources, headers and documentation (Python, C, C++, CUDA, .rst, .md, .txt, .html, ...), each file
# once, for sequences that span several files.
#   machine_corpus.sh OUT PROGRAM [MEGABYTES [SEQUENCE [ROOT...]]] [-- OPTIONS OF pack, for the training text]
# Without these: all there is, sequences of 98,304 tokens, what lies below /usr and /opt. dev/data/machine_text.py says what is
# taken and how it is cut: each sequence is one stretch of the text in the order of paths (BOS, bytes, EOS). Validation is
# whole files that are not in the training text. OUT/train and OUT/val receive the shards, OUT/text.txt the bytes of each kind and a
# hash of both texts, by which two machines can be seen to have trained on the same.
set -euo pipefail
export LC_ALL=C
megabytes=1000000 sequence=98304 roots=(/usr /opt)
# shellcheck source=dev/data/corpus_words.sh
source "$(dirname "$0")/corpus_words.sh"
mkdir -p "$out"
work=$(mktemp -d "${TMPDIR:-/tmp}/machine_corpus.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 "$(dirname "$0")/machine_text.py" "$work" $((sequence - 2)) "$megabytes" "${roots[@]}" >"$work/text.txt" ||
    { cat "$work/text.txt"; exit 3; }
"$program" pack "$work/train" --out "$out/train" --val-fraction 0 "${pack_options[@]}"
"$program" pack "$work/val" --out "$out/val" --val-fraction 0 --no-shuffle
mv "$work/text.txt" "$out/text.txt" # last: where it is, the shards are whole
cat "$out/text.txt"
