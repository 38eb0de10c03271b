#!/usr/bin/env bash
# Chromium from Debian, and playwright beside the tests in tests/browser.
set -euo pipefail
cd "$(dirname "$0")"
if [ ! -x /usr/bin/chromium ]; then
  echo "--> Chromium, about a minute"
  apt=(apt-get)
  [ "$(id -u)" = 0 ] || apt=(sudo apt-get)
  "${apt[@]}" -qq update
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" -qq install -y --no-install-recommends chromium >/dev/null
fi
cd browser
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-progress
