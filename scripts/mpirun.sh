#!/usr/bin/env bash
# Open MPI's mpirun for runs that are to be saved when they are stopped; it takes the same words:
#
#   scripts/mpirun.sh -np 8 [OPTIONS OF mpirun] build/train_gpt_lighthouse train ...
#
# At SIGTERM, SIGHUP and Ctrl-C mpirun by itself kills its ranks within 2 s (Open MPI 4; 0.4 s in 5). This passes
# them on as SIGUSR1: all ranks save and end with status 75. A second Ctrl-C ends all at once. A rank may use every core.
# Where a host or its cable is lost, mpirun 5 would give status 0, as of a run that is done; this gives 6.
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=scripts/child.sh
source "$here/child.sh"
# shellcheck source=scripts/launcher.sh
source "$here/launcher.sh"
set_keep_alive "$@"
case " $* " in *" - "* | *"=- "*) exec {child_input}<&0 ;; esac # the program reads standard input
stop_on "${stop_signals[@]}"

# mpirun tells of a lost host on its standard error, which is copied from line to line until a mark says that it has ended: what
# it has started may hold that open for longer.
mark=$'\x1e'"mpirun $$ has ended"
copy_lines() {
    local line lost=0
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
        *"$mark") printf '%s' "${line%"$mark"}"; break ;;
        *"lost communication with a remote daemon"*) lost=1 ;;
        esac
        printf '%s\n' "$line"
    done
    return $lost
}
run_mpirun5() { # WORDS...
    local copy copier status=0
    exec {copy}> >(trap '' "${stop_signals[@]}"; copy_lines >&2)
    copier=$!
    run_child mpirun "$@" 2>&"$copy" || status=$?
    (printf '%s\n' "$mark" >&"$copy") 2>/dev/null || true # nobody may read any more
    wait "$copier" || [ "$status" -ne 0 ] || status=6
    return "$status"
}
case $(mpirun --version 2>/dev/null) in
*"(Open MPI) 5."*) run_mpirun5 "$@" ;;
*) run_child mpirun "$@" ;;
esac
