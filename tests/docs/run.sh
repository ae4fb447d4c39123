#!/usr/bin/env bash
# The commands of README.md and docs/, as a reader would type them, against `vitals` on free ports.
#
#   tests/docs/run.sh [VITALS]      VITALS: the program, default target/release/vitals
#
# Needs python3, curl, cargo (the plugin of docs/plugins.md is built) and go (to build the Collector and InfluxDB once). What
# becomes of which block is said in tests/it/docs.rs. Ends with `N passed, N failed`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export VITALS_PEERS=${VITALS_PEERS:-$root/target/peers}
export PYTHONDONTWRITEBYTECODE=1
"$here/../interop/peers.sh" "$VITALS_PEERS" collector influxdb
exec timeout --kill-after=15 600 python3 "$here/check.py" "$@"
