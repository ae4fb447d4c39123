#!/usr/bin/env bash
# `kill -9` during load, ten times: every acknowledged point is there once after the restart, and verdicts go on.
#
#   tests/crash/run.sh [VITALS]        VITALS: the program, default target/release/vitals
#
# KILLS (10), SECONDS_OF_LOAD (4, before each kill), POINTS_A_SECOND (20000), SERIES (500) change it. Needs python3.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec timeout --kill-after=15 1200 python3 "$here/check.py" "$@"
