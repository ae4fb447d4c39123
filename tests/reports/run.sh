#!/usr/bin/env bash
# Inputs that once got a wrong answer, or might, against the program: each case sends something and says what is right.
#
#   tests/reports/run.sh [VITALS] [CASE ...]     VITALS: the program, default target/release/vitals
#                                                CASE: parts of the names of the cases to run, default all
#
# A case is a function `case_...(v)` in a file of cases/; `v` is a `Service` of service.py. Needs python3 only.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec timeout --kill-after=15 900 python3 "$here/check.py" "$@"
