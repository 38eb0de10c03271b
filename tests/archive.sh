#!/usr/bin/env bash
# The Galaxy archive: what is in it, and that the installed collection deploys without the clone's inventories.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
stack=(-e stack_name=archive -e stack_subnet_prefix=10.62 -e nginx_http_port=18062 -e nginx_address=127.0.0.1
  -e memory_monitor_port=18162 -e prometheus_port=18163 -e alertmanager_port=18164)
export ANSIBLE_COLLECTIONS_PATH=$work/collections
play() { (cd "$work" && ANSIBLE_CONFIG=$work/ansible.cfg ansible-playbook -i "$work/hosts.yml" "$@"); }
cleanup() {
  play sixty_sales.memory_optimized.destroy "${stack[@]}" -e docker_host_purge=true >/dev/null
  rm -rf "$work"
}
say() { printf -- '--> %s\n' "$*"; }

say "building the archive"
ansible-galaxy collection build --output-path "$work" . >/dev/null
archive=$(echo "$work"/*.tar.gz)
tar --list --file "$archive" | sort > "$work/list"
if grep -E '^(app|tests|inventories|benchmarks|molecule|scripts|requirements|\.)|node_modules|/dist/|\.pyc$|vault|secrets\.' "$work/list"; then
  echo "These do not belong into the archive." >&2
  exit 1
fi
for needed in README.md CHANGELOG.md CONTRIBUTING.md LICENSE MANIFEST.json meta/runtime.yml playbooks/deploy.yml plugins/modules/config_tree.py \
  extensions/eda/rulebooks/auto_rollback.yml extensions/eda/plugins/event_source/alertmanager_poll.py \
  roles/image/files/base/build.sh roles/nginx/templates/nginx.conf.j2 roles/memory_budget/vars/main/documented.yml; do
  grep -qxF "$needed" "$work/list" || { echo "The archive misses $needed." >&2; exit 1; }
done
ansible-galaxy collection install --no-deps --offline --collections-path "$work/collections" "$archive" >/dev/null

say "deploying from it, with an inventory of its own"
git ls-files -z --cached --others --exclude-standard app | tar --create --null --files-from=- | tar --extract --directory="$work"
cat > "$work/ansible.cfg" <<'CFG'
[defaults]
callback_result_format = yaml
display_skipped_hosts = False
CFG
cat > "$work/hosts.yml" <<'YML'
stack:
  hosts:
    localhost: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  vars:
    image_optional: [grafana, loki, fluent_bit]
    release_app_source: "{{ inventory_dir }}/app"
    release_build_dir: "{{ inventory_dir }}/build"
    stack_secrets:
      postgres_password: only-for-this-test-1
      postgres_app_password: only-for-this-test-2
      redis_api_password: only-for-this-test-3
      redis_admin_password: only-for-this-test-4
      redis_exporter_password: only-for-this-test-5
      postgres_exporter_password: only-for-this-test-6
      grafana_admin_password: only-for-this-test-7
YML
trap cleanup EXIT
play sixty_sales.memory_optimized.deploy "${stack[@]}" | tail -n 15
python3 - <<'PY'
import json
import urllib.request

answer = urllib.request.urlopen("http://127.0.0.1:18062/api/deals", timeout=10)
assert json.load(answer)["total"] == 0, "a new database is empty"
assert answer.headers["X-Release"], "no release id"
status = json.load(urllib.request.urlopen("http://127.0.0.1:18162/api/v1/status", timeout=10))
assert {entry["service"] for entry in status["services"] if entry["running"]} >= {"api", "prometheus"}, "nobody watches"
PY
say "the installed archive deploys"
