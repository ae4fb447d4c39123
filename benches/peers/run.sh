#!/usr/bin/env bash
# CPU that `vitals` needs for a point, side by side with programs that take the same OTLP requests.
#
#   benches/peers/run.sh [VITALS] [PEER...]
#
# VITALS: the program, default target/release/vitals. PEER: victoria-metrics, collector, prometheus, rotel, influxdb (vitals
# itself, storing in InfluxDB); default the first two. Prints a Markdown table. About two minutes a peer, after building it once (needs go; rotel: python3.11).
# ROUNDS (3) and SECONDS_OF_LOAD (10) make it shorter or longer. POINTS_A_SECOND (0: as fast as each answers) is for peers
# that cannot keep up: InfluxDB beside everything else on two cores.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
vitals=${1:-$root/target/release/vitals}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- victoria-metrics collector
export VITALS_PEERS=${VITALS_PEERS:-$root/target/peers}
export PYTHONDONTWRITEBYTECODE=1
"$root/tests/interop/peers.sh" "$VITALS_PEERS" "$@"
exec timeout --kill-after=15 3600 python3 "$here/compare.py" "$vitals" "$@"
