#!/usr/bin/env bash
# The running stack's page in Chromium with little memory, and its API under load.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.dev/venv/bin:$PATH"
SIXTY_CHROMIUM_IMAGE=$(bash tests/chromium_image.sh)
export SIXTY_CHROMIUM_IMAGE

npm --prefix tests/performance test --silent
python -m pytest tests/performance -q
exec python tests/performance/run.py
