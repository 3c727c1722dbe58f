#!/usr/bin/env bash
# dev/check_rooms.sh: the repository passes, and what looks up or lies in no room is named.
set -uo pipefail
# shellcheck source=dev/test/support/shell_tests.sh
source "$(dirname "$0")/../support/shell_tests.sh"
enter_work

mkdir -p core/base core/model cpu cuda dev
cp "$root/dev/rooms.txt" dev/
fault() { echo "$test: $*" >&2; cat console >&2; wrong=1; }
refused() { # WORDS
    "$root/dev/check_rooms.sh" . >console 2>&1 && fault "passed"
    [ "$(cat console)" = "$1" ] || fault "wanted: $1"
}

test_repository() {
    "$root/dev/check_rooms.sh" >console 2>&1 || fault "the repository's rooms"
}
test_looking_up() {
    echo '#include "core/base/error.h"' >core/model/shape.h
    echo '#include <stdio.h>' >core/base/error.h
    touch nothing.h nothing.cu nothing.cuh
    sed -i '$a nothing.h\nnothing.cu\nnothing.cuh' dev/rooms.txt
    "$root/dev/check_rooms.sh" . >console 2>&1 || fault "what looks down is refused"
    echo '#include "core/model/shape.h"' >core/base/error.h
    refused "core/base/error.h: looks up to core/model/shape.h"
    echo '#include "core/base/error.h"' >core/stray.h
    echo '#include "bytes.h"' >core/base/error.h
    refused "core/stray.h: in no room of dev/rooms.txt"
    rm core/stray.h
    echo '#include "core/attic/a.h"' >core/base/error.h
    refused "core/base/error.h: includes core/attic/a.h, which is in no room of dev/rooms.txt"
}
test_circle() {
    rm -f core/base/error.h
    echo '#include "core/model/b.h"' >core/model/a.h
    echo '#include "core/model/c.h"' >core/model/b.h
    echo '#include "core/model/a.h"' >core/model/b.c # of its own unit
    refused "these include each other in a circle: core/model/a core/model/b"
    echo '#include "core/model/b.h"' >core/model/b.c
    "$root/dev/check_rooms.sh" . >console 2>&1 || fault "a line is refused"
}

run_tests test_repository test_looking_up test_circle
