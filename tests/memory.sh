#!/usr/bin/env bash
# Leaks and limits on a stack of its own, which is removed in the end.
# Usage: tests/memory.sh [selfcheck [PYTEST ARGUMENTS]]. Needs "make setup-python images" and requirements/performance.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export PATH="$root/.dev/venv/bin:$PATH"
SIXTY_CHROMIUM_IMAGE=$(bash tests/chromium_image.sh)
export SIXTY_CHROMIUM_IMAGE
own='{"stack_name": "mem", "stack_subnet_prefix": "10.88", "nginx_http_port": 18088, "nginx_address": "127.0.0.1"}'
: "${SIXTY_TEST_SETTINGS:=$own}"
export SIXTY_TEST_SETTINGS
export PYTHONPATH="$root/.dev/collections:$root/tests/performance:$root/roles/image/files/memory_monitor"
package=ansible_collections.sixty_sales.memory_optimized.tests.memory
cd .dev/collections/ansible_collections/sixty_sales/memory_optimized
# Nice, so that the load takes no processor from the stack that it loads.
if [ "${1:-}" = selfcheck ]; then
  exec nice -n 10 python -m pytest tests/memory -q -s "${@:2}"
fi
exec nice -n 10 python -m "$package.run"
