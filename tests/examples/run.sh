#!/usr/bin/env bash
# The programs of examples/ against a running `vitals demo`, the one for InfluxDB against a real server.
#
#   tests/examples/run.sh [VITALS]      VITALS: the program, default target/release/vitals
#
# Needs python3, and go (to build InfluxDB once). Builds the examples; ends with `N passed, N failed`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export VITALS_PEERS=${VITALS_PEERS:-$root/target/peers}
export PYTHONDONTWRITEBYTECODE=1
"$here/../interop/peers.sh" "$VITALS_PEERS" influxdb
export CARGO_TARGET_DIR=$root/target/examples
cargo build --locked --quiet --manifest-path "$root/examples/Cargo.toml"
exec timeout --kill-after=15 300 python3 "$here/check.py" "$@"
