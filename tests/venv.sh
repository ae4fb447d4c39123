#!/usr/bin/env bash
# A virtual environment in DEST with what REQUIREMENTS lists; what was installed from an older list is installed anew.
#
#   tests/venv.sh REQUIREMENTS DEST
set -euo pipefail
if ! cmp --silent "$1" "$2/requirements.txt"; then
  python3 -m venv --clear "$2"
  "$2/bin/pip" install --quiet --disable-pip-version-check --requirement "$1"
  cp "$1" "$2/"
fi
