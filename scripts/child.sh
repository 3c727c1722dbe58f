# shellcheck shell=bash
# A program under a script: signals that the script gets go on to it, and it saves before it ends. Sourced; the script
# chooses which signals do so: trap stop_child INT TERM ...

child='' stopped='' told=''

# SIGUSR1 is what the program, mpirun and srun all understand; mpirun would kill its ranks soon after a SIGTERM. A second one
# ends a run at once.
stop_child() {
    stopped=1
    [ -n "$child" ] || return 0
    told=1
    kill -USR1 "$child" 2>/dev/null || true
}

# Runs a command and gives its status; `stopped` says whether it was told to stop.
run_child() {
    local status
    set -m # a process group of its own: Ctrl-C reaches it through stop_child alone, and once
    "$@" </dev/null &
    child=$!
    set +m
    [ -z "$stopped" ] || [ -n "$told" ] || stop_child # a signal that came while there was no child yet
    while true; do # a signal ends `wait` before the child has ended
        status=0
        wait "$child" || status=$?
        kill -0 "$child" 2>/dev/null || break
    done
    child=''
    return "$status"
}
