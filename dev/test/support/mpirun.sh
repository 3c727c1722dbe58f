#!/usr/bin/env bash
# mpirun as tests want it, Open MPI 4's or 5's: more ranks than cores, on this host alone. It takes this script's place, so that
# signals to it are its own. Without single copies between ranks: containers often forbid them.
OVERSUBSCRIBE=1
# shellcheck source=scripts/launcher.sh
source "$(dirname "$0")/../../../scripts/launcher.sh"
export OMPI_MCA_btl=self,vader OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_smsc=^cma
exec mpirun "$@"
