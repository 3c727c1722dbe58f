#!/usr/bin/env bash
# The short numeric tests under every core type of OpenBLAS that this machine can run; see core_types.sh.
exec "$(dirname "$0")/../core_types.sh" short
