#!/usr/bin/env bash
# What the detectors find, and what they find where nothing is: every shipped detector on labelled series, through the whole
# service (OTLP in, verdicts out over REST).
#
#   benches/detection/run.sh [VITALS] [NAB]
#
# VITALS: the program, default target/release/vitals. NAB: a copy of the Numenta Anomaly Benchmark (github.com/numenta/NAB), of
# which data/FOLDER/NAME.csv and labels/combined_windows.json are read; some of its folders are enough. The variable NAB is the same.
# Without it only series that are made here are scored, and held to least scores. Needs python3. About two minutes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec timeout --kill-after=15 1800 python3 "$here/score.py" "$@"
