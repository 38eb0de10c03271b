#!/usr/bin/env bash
# The production inventory on a virtual machine with 2,048 MB. Usage: tests/vm.sh [bookworm|trixie] [PYTEST ARGUMENT...]
# It goes on where the last run stopped; FRESH=1 begins anew. It ends after SIXTY_VM_MINUTES (80) in any case.
set -euo pipefail
cd "$(dirname "$0")/.."
export SIXTY_VM_SUITE=${1:-bookworm}
shift || :
for program in qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mke2fs:e2fsprogs ssh:openssh-client; do
  command -v "${program%%:*}" >/dev/null || apt-get install --yes -qq --no-install-recommends "${program##*:}" >/dev/null
done
python=$PWD/.dev/venv/bin/python
export PYTHONPATH=$PWD/.dev/collections
cd .dev/collections/ansible_collections/sixty_sales/memory_optimized
# An interrupt lets the machine be shut down.
exec timeout --signal=INT --kill-after=3m "${SIXTY_VM_MINUTES:-80}m" \
  "$python" -m pytest tests/vm -q -s --exitfirst "$@"
