#!/usr/bin/env bash
# Open MPI's mpirun for runs that are to be saved when they are stopped; it takes the same words:
#
#   scripts/mpirun.sh -np 8 [OPTIONS OF mpirun] build/train_gpt_lighthouse train ...
#
# At SIGTERM, SIGHUP and Ctrl-C mpirun by itself kills its ranks within 2 s (Open MPI 4; 0.4 s in 5). This passes
# them on as SIGUSR1: all ranks save and end with status 75. A second Ctrl-C ends all at once. A rank may use every core.
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=scripts/child.sh
source "$here/child.sh"
# shellcheck source=scripts/launcher.sh
source "$here/launcher.sh"
set_keep_alive "$@"
stop_on "${stop_signals[@]}"
run_child mpirun "$@"
