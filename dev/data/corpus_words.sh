# shellcheck shell=bash
# The words of machine_corpus.sh and python_corpus.sh, which source this: OUT PROGRAM [MEGABYTES [SEQUENCE [ROOT...]]]
# [-- OPTIONS OF pack]. Before it, megabytes, sequence and roots have what is taken where the words end early.
# shellcheck disable=SC2034 # who sources this uses them
[ $# -ge 2 ] && command -v "$2" >/dev/null || {
    echo "usage: $(basename "$0") OUT PROGRAM [MEGABYTES [SEQUENCE [ROOT...]]] [-- OPTIONS]; PROGRAM: train_gpt_lighthouse" >&2
    exit 2
}
words=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do words+=("$1") && shift; done
pack_options=("${@:2}")
out=${words[0]} program=${words[1]} megabytes=${words[2]:-$megabytes} sequence=${words[3]:-$sequence}
((${#words[@]} < 5)) || roots=("${words[@]:4}")
for number in "$megabytes" "$sequence"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || { echo "$(basename "$0"): $number: MEGABYTES and SEQUENCE are whole numbers" >&2; exit 2; }
done
