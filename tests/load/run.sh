#!/usr/bin/env bash
# 10,000 series at 100,000 points/s for a minute: every point is stored, none refused, and REST answers within 100 ms
# (99th percentile) meanwhile.
#
#   tests/load/run.sh [VITALS]         VITALS: the program, default target/release/vitals
#
# SECONDS_OF_LOAD (60), POINTS_A_SECOND (100000), SERIES (10000) change the load. Needs python3.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec timeout --kill-after=15 $((${SECONDS_OF_LOAD:-60} + 300)) python3 "$here/check.py" "$@"
