#!/usr/bin/env bash
# The pages: every command that this machine can run is run, on a small model; options, links and widths are held to what is
# there; docs/options.md is what the program's help makes of it.
#
# Commands stand in the pages as for a real run. Here a stand-in takes the program's place: it plans a training as it is
# written (--dry-run), and then runs it with the small settings below and a hundredth of the steps.
set -uo pipefail
# shellcheck disable=SC2016 # dollars and backticks of pages
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work
pages=$root/dev/test/support/pages.py
help=$("$program" train --help)
export program help OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0

# ---- The stand-in

make_stand_in() {
    mkdir -p "$1/build"
    cat >"$1/build/train_gpt_lighthouse" <<'STAND_IN'
#!/usr/bin/env bash
set -euo pipefail
small=(--preset tiny --layers 1 --dim 64 --ffn 64 --dense-layers none --global-batch 2)
hundredth() { echo $((($1 + 99) / 100)); }
written=("$@") words=()
case " $* " in *" --dry-run "*) exec "$program" "$@" ;; esac
while [ $# -gt 0 ]; do
    word=$1
    shift
    case $word in
    --preset)
        grep -q "^  $1 " <<<"$help" || { echo "there is no preset $1" >&2; exit 1; }
        words+=("${small[@]:0:$([ "${written[0]}" = train ] && echo 12 || echo 10)}")
        shift ;;
    --steps | --switch-at | --stop-at | --checkpoint-every | --warmup) words+=("$word" "$(hundredth "$1")") && shift ;;
    *step_000[0-9][0-9][0-9]00*) words+=("$(sed -E 's/step_000([0-9]{3})00/step_00000\1/' <<<"$word")") ;;
    *) words+=("$word") ;;
    esac
done
case ${written[0]} in # also where GPUs are, which may be fewer than ranks
train | eval | generate | niah | bench | info)
    [ "${written[0]}" != info ] || [[ " ${written[*]} " = *" --links "* ]] || exec "$program" "${words[@]}"
    [[ ${written[*]} = *" --device "* ]] || words+=(--device cpu) ;;
esac
if [ "${written[0]}" = train ] && [ -z "${OMPI_COMM_WORLD_SIZE:-}" ]; then # a rank may start MPI once
    [[ ${written[*]} = *step_000* ]] || "$program" "${written[@]}" --dry-run
fi
exec "$program" "${words[@]}"
STAND_IN
    chmod +x "$1/build/train_gpt_lighthouse"
}

# A folder as readers of any page have it: the repository's scripts, texts, shards, ids, a run through both stages.
make_folder() {
    mkdir -p folder/texts
    ln -s "$root/scripts" "$root/dev" folder
    for i in {1..40}; do
        for line in {1..60}; do echo "$(((i * 37 + line * 11) % 1000)) the quick brown fox jumps over the lazy dog."; done \
            >"folder/texts/$i.txt"
    done
    python3 -c 'import struct; open("folder/ids.bin", "wb").write(struct.pack("<8000I", *([128001] + list(range(1, 8000)))))'
    make_stand_in folder
    (
        cd folder || exit
        "$program" pack texts --out data --val-fraction 0.3
        build/train_gpt_lighthouse train --preset small --data 'data/train_*.bin' --val 'data/val_*.bin' --out run \
            --steps 1600 --switch-at 1000 --checkpoint-every 500
    ) >console 2>&1
}

# ---- The tests

# The blocks of a page are one session, in a folder of its own.
run_page() { # PAGE
    local name block made status
    name=$(basename "$1" .md)
    mkdir "blocks_$name"
    "$pages" blocks "$1" "blocks_$name" || fail "$1 cannot be read"
    cp -r folder "$name"
    for made in data run; do # where a page makes them itself
        if grep -qs -- "--out $made\b" "blocks_$name"/*.sh; then rm -r "${name:?}/$made"; fi
    done
    for block in "blocks_$name"/*.sh; do
        [ -e "$block" ] || return 0
        status=0
        (cd "$name" && OVERSUBSCRIBE=1 B=build/train_gpt_lighthouse bash -euo pipefail "../$block") >console 2>&1 || status=$?
        [ $status -eq 0 ] || { fail "$1, $(basename "$block" .sh): status $status"; cat console >&2; }
    done
}
test_commands() {
    make_folder || { fail "no folder to run commands in"; cat console >&2; return; }
    for page in "$root/README.md" "$root"/docs/*.md; do run_page "$page"; done
}

names_fault() { grep -q '^mistyped.md:[13]: ' <<<"$("$pages" faults "$program" mistyped.md)"; }

# Whoever mistypes an option, a preset, a link or a file hears of it.
test_mistypes() {
    local word
    for word in '$B pack texts --out x --shard-token 5' '$B pack text_s --out x' \
        "\$B train --preset smal --data 'data/train_*.bin' --out x --steps 100" \
        "\$B train --preset small --data 'data/train_*.bin' --out x --steps 100 --lr 11"; do
        printf '```sh\n%s\n```\n' "$word" >mistyped.md
        (wrong=0; run_page mistyped.md; exit $wrong) 2>/dev/null && fail "nobody hears of: $word"
        rm -rf mistyped blocks_mistyped
    done
    for word in '`--shard-token`' '`pack --lr`' '`$B pact x`' '[there](nowhere.md)' '[there](README.md#nowhere)' '    $B info' \
        "$(printf 'word %.0s' {1..30})"; do
        cp "$root/README.md" .
        printf '%s\n' "$word" >mistyped.md
        names_fault || fail "nobody hears of: $word"
    done
    printf '<!-- not run: needs a GPU -->\n```sh\n$B pack c4 --lr 1\n```\n' >mistyped.md
    names_fault || fail "nobody reads blocks that are not run"
    printf '```sh\n$B pack c4 --out x\n```\n' >mistyped.md
    "$pages" faults "$program" mistyped.md || fail "a fault in a right page"
}

test_pages() {
    (cd "$root" && find . -name '*.md' -not -path './third_party/*' -not -path './dev/results/*/*' -not -path './build*' -print0 |
        xargs -0 "$pages" faults "$program") || wrong=1
    [ "$(wc -l <"$root/README.md")" -le 150 ] || fail "README.md has more than 150 lines: a page in docs/ has room"
}

# The drawing has every room.
test_rooms() {
    local room
    for room in $(sed -n 's/^\([a-z][^ ]*\) .*/\1/p' "$root/dev/rooms.txt"); do
        [ "$room" = dev ] || [ "$room" = test_lighthouse.cu ] || grep -q "^ .*\b$room\b" "$root/docs/design.md" ||
            fail "docs/design.md does not draw $room"
    done
}

# The README's table of presets has each, with as many parameters as the program counts.
test_presets() {
    local preset plan counted
    for preset in $(sed -n '/^Presets/,$s/^  \([a-z0-9]*\)  .*/\1/p' <<<"$help"); do
        plan=$("$program" train --dry-run --preset "$preset" --device cpu 2>/dev/null)
        counted=$(sed -n 's/^model *\([0-9]*\) parameters.*/\1/p' <<<"$plan")
        grep -q "^| .$preset. .* $counted |$" <<<"$(tr -d , <"$root/README.md")" ||
            fail "README.md has no preset $preset of $counted parameters"
    done
}

test_options_page() {
    "$root/dev/options_page.py" "$program" >options.md || fail "no page of options"
    diff -u "$root/docs/options.md" options.md || fail "docs/options.md is old: dev/options_page.py > docs/options.md"
}

run_tests test_pages test_rooms test_presets test_options_page test_commands test_mistypes
