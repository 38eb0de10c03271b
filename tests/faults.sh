#!/usr/bin/env bash
# The fault matrix on a host of production of its own. Usage: tests/faults.sh [PYTEST ARGUMENT...]
# KEEP=1 keeps the host, and uses one that was kept: KEEP=1 tests/faults.sh -k disk
set -euo pipefail
cd "$(dirname "$0")/.."
command -v mkfs.ext4 >/dev/null || apt-get install --yes -qq --no-install-recommends e2fsprogs >/dev/null
python=$PWD/.dev/venv/bin/python
export PYTHONPATH=$PWD/.dev/collections SIXTY_SSH_SUITE=bookworm
cd .dev/collections/ansible_collections/sixty_sales/memory_optimized
exec "$python" -m pytest tests/faults -q -s "$@"
