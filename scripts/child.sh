# shellcheck shell=bash
# A program under a script: signals that the script gets go on to it, and it saves before it ends. Sourced; the script
# chooses which signals do so: stop_on INT TERM ...

child='' stopped='' told='' interrupts=0
# Those at which the program saves, and Ctrl-\, at which it does not.
# shellcheck disable=SC2034 # for the scripts
stop_signals=(HUP INT TERM USR1 USR2 XCPU QUIT)
exec {child_input}</dev/null # what it reads: no line of a loop around the script
first_interrupt=INT # what a first Ctrl-C is passed on as; scripts/launcher.sh says why this may be another

# Whether a folder, whatever its name, has entries that match a pattern.
holds() { # FOLDER PATTERN
    local entry
    for entry in "$1"/$2; do [ ! -e "$entry" ] || return 0; done
    return 1
}

stop_on() { # SIGNAL...
    local signal
    # shellcheck disable=SC2064 # the name is to be put in now
    for signal in "$@"; do trap "stop_child $signal" "$signal"; done
}

# SIGUSR1 is what the program, mpirun and srun all understand. A second Ctrl-C and Ctrl-\ end a run at once.
stop_child() { # SIGNAL
    local signal=USR1
    if [ "$1" = QUIT ]; then
        interrupts=2 signal=QUIT
    fi
    if [ "$1" = INT ]; then
        interrupts=$((interrupts + 1))
        signal=$first_interrupt
        [ "$interrupts" -lt 2 ] || signal=INT
    fi
    stopped=1
    [ -n "$child" ] || return 0
    told=1
    kill -"$signal" "$child" 2>/dev/null || true
}

# Says it again from time to time: a launcher that has no ranks yet passes nothing on.
remind_child() {
    local i
    for ((i = 1; ; i++)); do
        sleep 0.2
        kill -0 "$child" 2>/dev/null || return 0
        [ $((i % 25)) -ne 0 ] || kill -USR1 "$child" 2>/dev/null || true
    done
}

# Runs a command and gives its status; `stopped` says whether it was told to stop. One that a signal ended before it could heed
# it has nothing to save, and gives 75 too.
run_child() {
    local status=0
    set -m # a process group of its own: Ctrl-C reaches it through stop_child alone, and once
    "$@" <&"$child_input" &
    child=$!
    set +m
    [ -z "$stopped" ] || [ -n "$told" ] || stop_child USR1 # a signal that came while there was no child yet
    while [ -z "$stopped" ]; do # a signal ends `wait` before the child has ended
        status=0
        wait "$child" || status=$?
        kill -0 "$child" 2>/dev/null || break
    done
    if kill -0 "$child" 2>/dev/null; then remind_child; fi
    [ -z "$stopped" ] || { status=0; wait "$child" || status=$?; }
    child=''
    [ -z "$stopped" ] || [ "$interrupts" -gt 1 ] || [ "$status" -le 128 ] || status=75
    return "$status"
}
