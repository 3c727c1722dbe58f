#!/usr/bin/env bash
# Shards of this machine's Python sources as one long text in path order, read at random places.
#   python_corpus.sh OUT PROGRAM [MEGABYTES [SEQUENCE [ROOT...]]] [-- OPTIONS OF pack, for the training text]
# Without these: 388 MB, sequences of 16,384 tokens, all below /.
# The text is the files in the order of their paths, a form feed between two, cut to MEGABYTES; its last 2 % are for
# validation. Both are cut into documents of SEQUENCE tokens (BOS, bytes, EOS), so that each sequence is one stretch of the
# text, and the training ones are shuffled. OUT/train and OUT/val receive the shards.
set -euo pipefail
export LC_ALL=C
megabytes=388 sequence=16384 roots=(/)
# shellcheck source=dev/data/corpus_words.sh
source "$(dirname "$0")/corpus_words.sh"
work=$(mktemp -d "${TMPDIR:-/tmp}/python_corpus.XXXXXX")
trap 'rm -rf "$work"' EXIT

find "${roots[@]}" \( -path /proc -o -path /sys -o -path /tmp \) -prune -o -type f -name '*.py' -size +0 -print 2>/dev/null |
    sort >"$work/paths" || true
xargs -d '\n' awk 'FNR == 1 && started++ { printf "\f" } 1' <"$work/paths" 2>/dev/null | tr -d '\0' |
    head -c "${megabytes}000000" >"$work/text" || true # head ends the pipe early, and a file may be unreadable
bytes=$(stat -c %s "$work/text")
((bytes > 100 * sequence)) || { echo "only $bytes bytes of Python below ${roots[*]}: name other folders" >&2; exit 3; }
echo "$(wc -l <"$work/paths") files, $bytes bytes of them taken"

cut_and_pack() { # FOLDER, options of pack; the text comes on standard input
    local folder=$1
    shift
    mkdir "$work/$folder"
    split -b $((sequence - 2)) -a 6 -d - "$work/$folder/"
    "$program" pack "$work/$folder" --out "$out/$folder" --val-fraction 0 "$@"
}
val=$((bytes / 50))
train=$(((bytes - val) / (sequence - 2) * (sequence - 2))) # whole documents alone: a shorter one would shift all behind it
head -c $train "$work/text" | cut_and_pack train "${pack_options[@]}"
tail -c $val "$work/text" | cut_and_pack val --no-shuffle
