#!/usr/bin/env bash
# Power cuts: the files as a cut may leave them, rebuilt from a trace of every write and sync under load; everything
# acknowledged is there once. And a control run that must lose.
#
#   tests/powercut/run.sh [VITALS]     VITALS: the program, default target/release/vitals
#
# IMAGES (12), SECONDS_OF_LOAD (8), SEED (random, printed) change it. Needs python3 and a C compiler.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
library=$(mktemp --suffix=.so)
trap 'rm -f "$library"' EXIT
cc -shared -fPIC -O2 -Wall -Wextra -Werror -o "$library" "$here/trace.c" -ldl
TRACE_LIBRARY=$library timeout --kill-after=15 3600 python3 "$here/check.py" "$@"
