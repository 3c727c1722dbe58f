# shellcheck shell=bash
# Options of train for a stage without Lighthouse. Sourced.

# Sets `dense`: the options but those that mean nothing there.
leave_out_lighthouse() { # OPTION...
    dense=()
    while [ $# -gt 0 ]; do
        case $1 in
        --scorer | --levels | --pool | --topk | --dilation | --dense-layers) [ $# -lt 2 ] || shift ;;
        --scorer=* | --levels=* | --pool=* | --topk=* | --dilation=* | --dense-layers=*) ;;
        *) dense+=("$1") ;;
        esac
        shift
    done
}
