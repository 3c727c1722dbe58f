#!/usr/bin/env bash
# Holds the includes to dev/rooms.txt: a file includes its own room and those listed above it. Names each that looks up. Within
# a room nothing goes in a circle: x.c and x.h are one, and what they include does not lead back to them.
#   check_rooms.sh [FOLDER]     the repository, or one made like it
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
grep -rHo '^ *# *include "[^"]*"' --include='*.[ch]' --include='*.cu' --include='*.cuh' core cpu cuda dev ./*.[ch] ./*.cu ./*.cuh |
    sed 's|^\./||' | awk '
        function room(path,  at) { # its place in the list, 0 where there is none
            at = path
            while (!(at in place) && sub("/[^/]*$", "", at)) ;
            return place[at] + 0
        }
        FILENAME != "-" { if ($0 !~ /^#/ && NF) place[$1] = ++rooms; next }
        {
            file = included = $0
            sub(":.*", "", file)
            sub("^[^\"]*\"", "", included); sub("\"$", "", included)
            folder = file; if (!sub("/[^/]*$", "", folder)) folder = "."
            if (included !~ "/" && folder != "." && !(included in place)) included = folder "/" included
            looks++
            if (!room(file)) { print file ": in no room of dev/rooms.txt"; bad = 1 }
            else if (!room(included)) { print file ": includes " included ", which is in no room of dev/rooms.txt"; bad = 1 }
            else if (room(included) > room(file)) { print file ": looks up to " included; bad = 1 }
        }
        END { if (!looks) { print "no includes are found"; bad = 1 } exit bad }' dev/rooms.txt -
circle=$(grep -rHo '^ *# *include "[^"]*/[^"]*"' --include='*.[ch]' --include='*.cu' --include='*.cuh' core cpu cuda |
    sed -n 's|^\(.*\)\.[a-z]*:.*"\(.*\)\.c*u*h"|\1 \2|p' | LC_ALL=C tsort 2>&1 >/dev/null | sed -n 's/^tsort: \([^-].*\)/\1/p' | grep -v ' ' || true)
[ -z "$circle" ] || { echo "these include each other in a circle:" $circle; exit 1; }
