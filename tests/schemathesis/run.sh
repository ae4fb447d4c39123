#!/usr/bin/env bash
# schemathesis against a `vitals serve` on loopback: what the OpenAPI document says is what the service does.
#
#   tests/schemathesis/run.sh [VITALS]      VITALS: the program, default target/release/vitals
#
# Needs python3. Ends with `N passed, N failed`; three minutes at most after the first time.
# SCHEMATHESIS_SECONDS: how long the fuzzing phase goes on, default 60. SCHEMATHESIS_SEED: default 1.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PYTHONDONTWRITEBYTECODE=1

tools=$root/target/schemathesis
mkdir -p "$tools"
"$here/../venv.sh" "$here/requirements.txt" "$tools/python"
export SCHEMATHESIS=$tools/python/bin/schemathesis

exec timeout --kill-after=15 600 python3 "$here/check.py" "$@"
