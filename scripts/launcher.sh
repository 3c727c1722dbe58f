# shellcheck shell=bash
# What Open MPI's mpirun has to be told so that the program runs well under it, in the words of version 4 (OMPI_) and 5 (PRTE_).
# As variables: options of mpirun go before them, and 5 takes none twice. Sourced, behind scripts/child.sh.
# Variable: OVERSUBSCRIBE=1 for more ranks than cores.
#
# A rank may use any core: Open MPI would give each one core, or one NUMA domain. To run as root is usual in containers.
export OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_hwloc_default_binding_policy=none
if [ -n "${OVERSUBSCRIBE:-}" ]; then
    export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:OVERSUBSCRIBE
fi
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# A host that is lost, or its cable: mpirun would see that after a quarter of an hour, and its daemon there stays so long. It has
# to see it before the ranks' --watchdog ends them, or it hangs all the same: here after time + intvl * probes seconds.
keep_alive() { # TIME INTVL PROBES
    local name
    for name in time intvl probes; do
        export "OMPI_MCA_oob_tcp_keepalive_$name=$1" "PRTE_MCA_oob_tcp_keepalive_$name=$1"
        shift
    done
}
watchdog_of() { # WORDS...: what --watchdog among them says, else its default
    local word before='' seconds=50
    for word in "$@"; do
        case $before in --watchdog) seconds=$word ;; esac
        case $word in --watchdog=*) seconds=${word#*=} ;; esac
        before=$word
    done
    echo "$seconds"
}
# Takes the words of mpirun.
set_keep_alive() {
    local seconds
    seconds=$(watchdog_of "$@")
    if [ -n "${OMPI_MCA_oob_tcp_keepalive_time:-}${PRTE_MCA_oob_tcp_keepalive_time:-}" ]; then return; fi
    if [[ $seconds =~ ^[0-9]+$ ]] && [ "$seconds" -lt 20 ]; then keep_alive 1 1 2; else keep_alive 5 2 3; fi
}
# mpirun passes SIGUSR1 on and waits; at SIGTERM, SIGHUP and SIGINT it kills the ranks, before they can have saved.
# shellcheck disable=SC2034 # for child.sh
first_interrupt=USR1
