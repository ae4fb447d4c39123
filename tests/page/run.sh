#!/usr/bin/env bash
# The page in a real browser, against a `vitals serve` and a `vitals demo` on loopback.
#
#   tests/page/run.sh [VITALS]      VITALS: the program, default target/release/vitals
#
# Needs python3, node with npm, Debian's chromium and chromium-driver. Ends with `N passed, N failed`; five minutes at
# most after the first time. PAGE_SCREENSHOTS: the folder of the screenshots, default target/page/screenshots.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PYTHONDONTWRITEBYTECODE=1

tools=$root/target/page
mkdir -p "$tools"
"$here/../venv.sh" "$here/requirements.txt" "$tools/python"
# What was installed from an older list is installed anew.
if ! cmp --silent "$here/package-lock.json" "$tools/package-lock.json" || [ ! -d "$tools/node_modules" ]; then
  cp "$here/package.json" "$here/package-lock.json" "$tools/"
  (cd "$tools" && npm ci --ignore-scripts --no-audit --no-fund --silent)
fi
export AXE=$tools/node_modules/axe-core/axe.min.js
export PAGE_SCREENSHOTS=${PAGE_SCREENSHOTS:-$tools/screenshots}
# The client of WebDriver shall not fetch a browser.
export SE_OFFLINE=true

exec timeout --kill-after=15 600 "$tools/python/bin/python" "$here/check.py" "$@"
