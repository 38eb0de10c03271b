#!/usr/bin/env bash
# The production inventory over SSH, from a bare Debian host on. Usage: tests/ssh.sh [bookworm|trixie] [PYTEST ARGUMENT...]
# KEEP=1 keeps the host, and uses one that was kept: KEEP=1 tests/ssh.sh bookworm -k second_run
set -euo pipefail
cd "$(dirname "$0")/.."
export SIXTY_SSH_SUITE=${1:-bookworm}
shift || :
python=$PWD/.dev/venv/bin/python
export PYTHONPATH=$PWD/.dev/collections
cd .dev/collections/ansible_collections/sixty_sales/memory_optimized
exec "$python" -m pytest tests/ssh -q --exitfirst "$@"
