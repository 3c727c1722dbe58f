#!/usr/bin/env bash
# dev/data/c4.sh against a mirror on this machine: whole, cut short and gone on, damaged, missing.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
c4=$root/dev/data/c4.sh
cd "$work" || exit 1
mkdir -p web/raw/main/en web/resolve/main/en
python3 "$root/dev/test/support/mirror.py" web requests >port &
server=$!
trap '[ $BASHPID -ne $$ ] || { kill $server; rm -rf "$work"; }' EXIT
await test -s port || exit 1
MIRROR=http://127.0.0.1:$(cat port)
export MIRROR

name() { printf 'c4-train.%05d-of-01024.json.gz' "$1"; }
for i in 0 1 2 3; do
    head -c $((300000 + i)) /dev/urandom >"web/resolve/main/en/$(name $i)"
    printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n' \
        "$(sha256sum <"web/resolve/main/en/$(name $i)" | cut -d ' ' -f 1)" $((300000 + i)) >"web/raw/main/en/$(name $i)"
done

status() { # WANTED, TEXT that the output must hold, command
    local wanted=$1 text=$2 output got=0
    shift 2
    output=$("$@" 2>&1) || got=$?
    [ $got -eq "$wanted" ] || fail "$*: status $got, not $wanted: $output"
    [[ $output == *"$text"* ]] || fail "$*: no '$text' in: $output"
}
same() { cmp -s "$1/$(name "$2")" "web/resolve/main/en/$(name "$2")" || fail "shard $2 in $1 is not the server's"; }
absent() { [ ! -e "$1" ] || fail "$1 is there"; }
asked() { grep -c "$1" requests || true; } # how often

test_whole() {
    JOBS=2 status 0 "3 shards in a" "$c4" a 3
    same a 0 && same a 1 && same a 2
    absent "a/$(name 3)"
    : >requests
    status 0 "is there" "$c4" a 2 1 # nothing is fetched again
    [ ! -s requests ] || fail "fetched again: $(cat requests)"
    status 0 "1 shards in a" "$c4" a 1 3
    same a 3
    [ -z "$(find a -name '*.part')" ] || fail "parts are left"
}

test_goes_on() {
    touch web/ranges
    echo 100000 >web/cut
    status 1 "$(name 1) stopped after " "$c4" b 1 1
    absent "b/$(name 1)"
    [ "$(stat -c %s "b/.$(name 1).part")" -ge 100000 ] || fail "nothing was kept"
    rm web/cut
    : >requests
    status 0 "fetched and right" "$c4" b 1 1
    same b 1
    [ "$(asked 'resolve.* 0$')" -eq 0 ] || fail "it began anew: $(cat requests)"
    rm web/ranges
}

# A server without byte ranges.
test_begins_anew() {
    mkdir c
    head -c 5000 "web/resolve/main/en/$(name 2)" >"c/.$(name 2).part"
    status 0 "fetched and right" "$c4" c 1 2
    same c 2
}

test_damage() {
    mkdir d
    head -c 300000 /dev/zero >"d/.$(name 0).part" # whole, but of other bytes
    status 1 "$(name 0) came damaged" "$c4" d 2
    absent "d/$(name 0)"
    absent "d/.$(name 0).part"
    same d 1 # the others came
    status 0 "2 shards" "$c4" d 2
    same d 0
    head -c 400000 /dev/zero >"d/.$(name 2).part" # longer than the shard
    status 1 "came damaged" "$c4" d 3
    status 0 "3 shards" "$c4" d 3
}

test_refusals() {
    status 2 "usage" "$c4" e
    status 2 "whole numbers" "$c4" e 1x
    status 2 "do not lie in there" "$c4" e 0
    status 2 "do not lie in there" "$c4" e 2 1023
    status 2 "JOBS" env JOBS=0 "$c4" e 1
    absent e
    status 1 "no pointer of $(name 9)" "$c4" e 1 9
    echo "<html>" >"web/raw/main/en/$(name 8)"
    status 1 "no Git LFS pointer" "$c4" e 1 8
    exec 8>e/.c4.lock
    flock 8
    status 1 "another c4.sh" "$c4" e 1
    exec 8>&-
}

run_tests test_whole test_goes_on test_begins_anew test_damage test_refusals
