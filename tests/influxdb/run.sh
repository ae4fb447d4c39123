#!/usr/bin/env bash
# A real InfluxDB as the store: killed and restarted during load, wrong settings, and what `vitals store check` says.
#
#   tests/influxdb/run.sh [VITALS]     VITALS: the program, default target/release/vitals
#
# KILLS (3), SECONDS_OF_LOAD (60), POINTS_A_SECOND (10000), SERIES (500) change it. Needs python3, and go to build the
# server the first time. Ends with `N passed, N failed`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export VITALS_PEERS=${VITALS_PEERS:-$here/../../target/peers}
export PYTHONDONTWRITEBYTECODE=1
"$here/../interop/peers.sh" "$VITALS_PEERS" influxdb
exec timeout --kill-after=15 600 python3 "$here/check.py" "$@"
