#!/usr/bin/env bash
# A real Collector, real SDKs and a real Alertmanager against `vitals`, on loopback.
#
#   tests/interop/run.sh [VITALS]      VITALS: the program, default target/release/vitals
#
# INTEROP_STORE=influxdb does it with a real InfluxDB as the store.
# Needs python3, node with npm, go (to build the peers once), apt-get (to fetch the Alertmanager once). Ends with
# `N passed, N failed`; 5 minutes at most
# after the first time.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export VITALS_PEERS=${VITALS_PEERS:-$root/target/peers}
export PYTHONDONTWRITEBYTECODE=1
peers=(collector alertmanager)
[ "${INTEROP_STORE:-embedded}" = influxdb ] && peers+=(influxdb)
"$here/peers.sh" "$VITALS_PEERS" "${peers[@]}"

sdk=$root/target/interop
mkdir -p "$sdk"
"$here/../venv.sh" "$here/sdk/requirements.txt" "$sdk/python"
# What was installed from an older list is installed anew.
if ! cmp --silent "$here/sdk/package-lock.json" "$sdk/package-lock.json" || [ ! -d "$sdk/node_modules" ]; then
  cp "$here/sdk/package.json" "$here/sdk/package-lock.json" "$sdk/"
  (cd "$sdk" && npm ci --ignore-scripts --no-audit --no-fund --silent)
fi
export INTEROP_PYTHON=$sdk/python/bin/python INTEROP_MODULES=$sdk

exec timeout --kill-after=15 600 python3 "$here/check.py" "$@"
