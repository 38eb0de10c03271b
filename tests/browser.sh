#!/usr/bin/env bash
# The Memory Monitor's page in Chromium: against recorded answers, and on the real service.
set -euo pipefail
cd "$(dirname "$0")/.."
set -a
# shellcheck source=/dev/null
. .dev/images.env
set +a
bash tests/chromium.sh
cd tests/browser
# Playwright ends its browsers on SIGTERM.
timeout --kill-after=10 180 npm run --silent test
