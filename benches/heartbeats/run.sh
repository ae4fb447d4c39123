#!/usr/bin/env bash
# Heartbeats over REST at a steady rate, each answered after it is on the disk and judged: how long the answers take.
#
#   benches/heartbeats/run.sh [VITALS]      VITALS: the program, default target/release/vitals
#
# SECONDS_OF_LOAD (30), HEARTBEATS_A_SECOND (500), AGENTS (1000), CONNECTIONS (32) change the load. Needs python3. The
# sender shares the machine's cores with the service.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec timeout --kill-after=15 $((${SECONDS_OF_LOAD:-30} + 120)) python3 "$here/send.py" "$@"
