#!/usr/bin/env bash
# Disks that fail: EIO, a full disk, short writes and failing syncs on each file of the service, while points come in.
#
#   tests/faults/run.sh [VITALS]       VITALS: the program, default target/release/vitals
#
# SECONDS_OF_FAULT (3), ONLY (part of a file's or fault's name) change it. Needs python3 and a C compiler.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
library=$(mktemp --suffix=.so)
trap 'rm -f "$library"' EXIT
cc -shared -fPIC -O2 -Wall -Wextra -Werror -o "$library" "$here/fail.c" -ldl
FAULT_LIBRARY=$library timeout --kill-after=15 1800 python3 "$here/check.py" "$@"
