#!/usr/bin/env bash
# Automatic rollback end to end: a stack of its own, a real Alertmanager, ansible-rulebook. It takes some minutes.
# Usage: tests/eda.sh [PYTEST ARGUMENTS]. Needs "make setup-python images".
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.dev/eda

if ! command -v java >/dev/null; then
  echo "==> Java, for ansible-rulebook"
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -qq
  # 17 in Debian 12, 21 in Debian 13.
  $sudo apt-get install -y -qq --no-install-recommends default-jre-headless >/dev/null
fi
if [ ! -e $venv/stamp ] || [ requirements/eda.txt -nt $venv/stamp ] || [ requirements/deploy.txt -nt $venv/stamp ]; then
  echo "==> Python packages of Event-Driven Ansible, about a minute"
  [ -x $venv/bin/python ] || python3 -m venv $venv
  mapfile -t tests < <(grep -E '^(aiosmtpd|pytest)==' requirements/test.txt)
  $venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/eda.txt "${tests[@]}"
  touch $venv/stamp
fi

set -a
# shellcheck disable=SC1091
. .dev/images.env
set +a
root=$PWD
export SIXTY_TEST_SETTINGS='{"stack_name": "eda", "stack_subnet_prefix": "10.95", "nginx_http_port": 18095, "nginx_address": "127.0.0.1"}'
export PYTHONPATH=$root/.dev/collections ANSIBLE_CONFIG=$root/ansible.cfg
cd .dev/collections/ansible_collections/sixty_sales/memory_optimized
exec "$root/$venv/bin/python" -m pytest tests/eda -q -s "$@"
