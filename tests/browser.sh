#!/usr/bin/env bash
# The Memory Monitor's page in Chromium: against recorded answers, and on the real service.
set -euo pipefail
cd "$(dirname "$0")/.."
set -a
# shellcheck source=/dev/null
. .dev/images.env
set +a

if [ ! -x /usr/bin/chromium ]; then
  echo "--> Chromium, about a minute"
  apt=(apt-get)
  [ "$(id -u)" = 0 ] || apt=(sudo apt-get)
  "${apt[@]}" -qq update
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" -qq install -y --no-install-recommends chromium >/dev/null
fi

cd tests/browser
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-progress
# Playwright ends its browsers on SIGTERM.
timeout --kill-after=10 180 npm run --silent test
