#!/usr/bin/env bash
# One rank of several whose words differ: the first RANKS take those before the first "::", and each "::" begins those of one
# rank more. mpirun's own ":" crashes Open MPI 5.0.7.   each_rank.sh RANKS PROGRAM WORD... [:: WORD...]...
skip=$((OMPI_COMM_WORLD_RANK - $1 + 1)) program=$2 words=()
shift 2
for word in "$@"; do
    if [ "$word" = :: ]; then skip=$((skip - 1)); elif [ $skip -eq 0 ]; then words+=("$word"); fi
    [ $skip -ge 0 ] || break
done
exec "$program" "${words[@]}"
