#!/usr/bin/env bash
# The dashboard in Chromium, through nginx: on the stack at $URL, or on one of its own, where a new release is deployed
# while its pages are open.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/chromium.sh
run=(timeout --kill-after=10 600 node --test --test-timeout=90000)
if [ -n "${URL:-}" ]; then
  export URL
  exec "${run[@]}" tests/browser/dashboard/dashboard.test.mjs
fi

export URL=http://127.0.0.1:18089
own=(-e '{"stack_name": "e2e", "stack_subnet_prefix": "10.89", "nginx_http_port": 18089, "nginx_address": "127.0.0.1"}')
play() { ansible-playbook -i inventories/local "$@" "${own[@]}"; }
remove() { play playbooks/destroy.yml -e docker_host_purge=true >/dev/null || echo "The stack e2e was not removed." >&2; }
trap remove EXIT
DEPLOY="ansible-playbook -i inventories/local deploy.yml --skip-tags monitoring -e release_watch_seconds=10 $(printf '%q ' "${own[@]}")"
export DEPLOY
bash -c "$DEPLOY" >/dev/null || { echo "The stack e2e was not deployed; again: $DEPLOY" >&2; exit 1; }
"${run[@]}" tests/browser/dashboard/dashboard.test.mjs tests/browser/dashboard/switch.test.mjs
