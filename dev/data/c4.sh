#!/usr/bin/env bash
# Fetches shards of C4 en (Raffel et al. 2020, as AllenAI publishes it), checked and resumable.
#
#   dev/data/c4.sh DIR COUNT [FIRST]     shards FIRST ... FIRST + COUNT - 1 of the 1,024 for training; FIRST is 0
#
# A shard is some 320 MB of gzip, 356,317 documents, about 774 M tokens of bytes. How that is reckoned: the data set's card on
# Hugging Face counts 364,868,892 training documents and 828.6 GB of text, URLs and timestamps in Arrow tables, 2,271 bytes a
# document. Less 20 for the timestamp, 12 for three offsets and some 70 for the URL (a guess) the text is 2,169 bytes, 2,171
# tokens with its marks. The 50.33 G tokens of the published run are then 66 shards, 64 to 68 if URLs had 0 to 150 bytes.
# JOBS=4 are fetched at a time. Started again it goes on where it was, within a shard too. A shard gets its name only when
# its size and SHA-256 are those that the server's Git LFS pointer states. MIRROR and REVISION name another server, or
# another version, of https://huggingface.co/datasets/allenai/c4: MIRROR/raw/REVISION/en/NAME is a shard's pointer,
# MIRROR/resolve/REVISION/en/NAME the shard. Exit status: 0 all there, 1 some could not be fetched, 2 usage.
set -euo pipefail

mirror=${MIRROR:-https://huggingface.co/datasets/allenai/c4}
revision=${REVISION:-main}
jobs=${JOBS:-4}
shards=1024

fail() { echo "c4: $2" >&2; exit "$1"; }
number() { [[ $1 =~ ^[0-9]{1,6}$ ]]; }
name_of() { printf 'c4-train.%05d-of-%05d.json.gz' "$1" $shards; }
size_of() { [ -e "$1" ] && stat -c %s "$1" || echo 0; }

# One whole answer to standard output.
get() { curl --fail --silent --show-error --location --retry 3 --retry-delay 1 --connect-timeout 30 "$1"; }

# Goes on with the file $2; from its start where the server cannot go on.
go_on() {
    local status=0
    curl --fail --silent --show-error --location --retry 3 --retry-delay 1 --connect-timeout 30 --speed-limit 1000 \
        --speed-time 60 --continue-at - --output "$2" "$1" || status=$?
    [ $status -ne 33 ] && return $status # 33: no byte ranges
    rm -f "$2"
    get "$1" >"$2"
}

fetch() { # INDEX
    local name part pointer sha size
    name=$(name_of "$1") part=$dir/.$name.part
    [ -e "$dir/$name" ] && { echo "$name is there"; return 0; }
    pointer=$(get "$mirror/raw/$revision/en/$name") || { echo "c4: no pointer of $name from $mirror" >&2; return 1; }
    sha=$(sed -n 's/^oid sha256:\([0-9a-f]\{64\}\)$/\1/p' <<<"$pointer")
    size=$(sed -n 's/^size \([0-9]\{1,15\}\)$/\1/p' <<<"$pointer")
    [ -n "$sha" ] && [ -n "$size" ] || { echo "c4: what $mirror gives for $name is no Git LFS pointer" >&2; return 1; }
    if [ "$(size_of "$part")" -lt "$size" ]; then
        go_on "$mirror/resolve/$revision/en/$name" "$part" ||
            { echo "c4: $name stopped after $(size_of "$part") of $size bytes; start again to go on" >&2; return 1; }
    fi
    if [ "$(size_of "$part")" -ne "$size" ] || ! sha256sum --check --status <<<"$sha  $part"; then
        rm -f "$part"
        echo "c4: $name came damaged ($size bytes of SHA-256 $sha were promised); start again to fetch it anew" >&2
        return 1
    fi
    mv "$part" "$dir/$name"
    echo "$name fetched and right"
}

[ $# -ge 2 ] && [ $# -le 3 ] || fail 2 "usage: dev/data/c4.sh DIR COUNT [FIRST]"
dir=$1 count=$2 first=${3:-0}
number "$count" && number "$first" || fail 2 "COUNT and FIRST are whole numbers, not $count and $first"
number "$jobs" && [ "$jobs" -ge 1 ] || fail 2 "JOBS is a number from 1 on, not $jobs"
count=$((10#$count)) first=$((10#$first)) # no octal
[ $count -ge 1 ] && [ $((first + count)) -le $shards ] ||
    fail 2 "shards go from 0 to $((shards - 1)), and $count from $first on do not lie in there"
command -v curl >/dev/null || fail 1 "curl is missing: apt-get install curl"
mkdir -p "$dir"
exec 9>"$dir/.c4.lock"
flock --nonblock 9 || fail 1 "another c4.sh is fetching into $dir"

failed=0 running=0
for ((i = first; i < first + count; i++)); do
    if ((running == jobs)); then
        wait -n || failed=$((failed + 1))
        running=$((running - 1))
    fi
    fetch $i &
    running=$((running + 1))
done
for (( ; running > 0; running--)); do wait -n || failed=$((failed + 1)); done
((failed == 0)) || fail 1 "$failed of $count shards are missing; start again to go on"
echo "$count shards in $dir"
