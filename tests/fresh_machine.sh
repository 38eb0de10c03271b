#!/usr/bin/env bash
# The README's first command on a machine that has nothing: a Debian with systemd, Python, make and
# git, no Docker, no Node, an empty home. Usage: fresh_machine.sh [SUITE [USER]]
# USER is root, or "deployer", who has sudo.
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${1:-bookworm} user=${2:-root}
name=sixty-fresh-$suite image=sixty/machine:$suite
# Two engines share this kernel's cgroup tree, so this stack needs a name of its own.
# A watch of three minutes tells nothing here that one of ten seconds does not.
args="-e stack_name=fresh -e release_watch_seconds=10"
bundle=/etc/ssl/certs/ca-certificates.crt
say() { printf -- '--> %s\n' "$*"; }
cleanup() { docker rm --force --volumes "$name" >/dev/null 2>&1 || : "was not started"; }
[ -n "${KEEP:-}" ] || trap cleanup EXIT
cleanup

bash tests/machine/image.sh "$suite"
say "starting it"
bash tests/machine/start.sh "$name" "$image" --volume "$bundle:$bundle:ro"
# The machine trusts the certificates that this one trusts.
inside() {
  docker exec --interactive --user "$user" --env HOME=/home/fresh --env PIP_CERT=$bundle --env NPM_CONFIG_CAFILE=$bundle --env SSL_CERT_FILE=$bundle \
    --workdir /home/fresh/sixty "$name" "$@"
}

say "cloning"
docker exec "$name" mkdir -p /home/fresh/sixty
{ git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=-; } \
  | docker exec --interactive "$name" tar --extract --no-same-owner --directory=/home/fresh/sixty
docker exec "$name" chown -R "$user" /home/fresh
inside git init --quiet
inside git add --all

say "make deploy-local --check on the bare machine"
inside make deploy-local ARGS="$args --check" </dev/null | tee "${TMPDIR:-/tmp}/$name.log" | tail -n 40
grep -q 'No container engine answers' "${TMPDIR:-/tmp}/$name.log"
! inside test -e /srv/fresh
! inside test -e /usr/sbin/dockerd

say "make deploy-local"
inside make deploy-local ARGS="$args" </dev/null | tail -n 60

say "asking for the dashboard"
inside python3 - <<'PY'
import json
import urllib.request

page = urllib.request.urlopen("http://localhost/", timeout=10)
assert "Sixty Sales" in page.read().decode(), "not the dashboard"
deals = urllib.request.urlopen("http://localhost/api/deals?page_size=1", timeout=10)
total = json.load(deals)["total"]
assert total == 3000, f"{total} deals, 3000 were seeded"
assert page.headers["X-Release"] == deals.headers["X-Release"], "frontend and API are of two releases"
print(f"the dashboard answers: release {deals.headers['X-Release']}, {total} deals")
PY

say "asking the monitoring"
inside python3 - <<'PY'
import json
import time
import urllib.request


def ask(url):
    return json.load(urllib.request.urlopen(url, timeout=10))


status = ask("http://localhost:8080/api/v1/status")
running = {entry["service"] for entry in status["services"] if entry["running"]}
assert running >= {"nginx", "api", "redis", "postgres", "prometheus", "alertmanager", "memory_monitor"}, running
# A first scrape of every target, a quarter of a minute apart.
for _ in range(30):
    targets = ask("http://localhost:9090/api/v1/targets")["data"]["activeTargets"]
    down = [target["scrapeUrl"] for target in targets if target["health"] != "up"]
    if len(targets) > 2 and len(down) == 1:
        break
    time.sleep(2)
# The slot without a release.
assert len(down) == 1 and ":3000" in down[0], down
print(f"{len(running)} services are watched, {len(targets) - 1} targets are up")
PY

say "nothing is scheduled on a workstation"
! inside test -e /etc/systemd/system/fresh-backup.timer

say "a second deploy changes nothing"
inside make deploy-local ARGS="$args" </dev/null | tail -n 4 | tee "${TMPDIR:-/tmp}/$name.log"
grep -q 'changed=0 .*failed=0' "${TMPDIR:-/tmp}/$name.log"

say "make destroy-local leaves nothing"
inside make destroy-local PURGE=1 ARGS="$args" </dev/null | tail -n 30
[ -z "$(docker exec "$name" docker ps --all --quiet --filter label=sixty.stack=fresh)" ]
[ -z "$(docker exec "$name" docker volume ls --quiet --filter name=fresh)" ]
[ -z "$(docker exec "$name" docker network ls --quiet --filter name=fresh)" ]
! inside test -e /srv/fresh
! inside test -e /sys/fs/cgroup/memory/fresh
say "a fresh $suite machine deploys, and is clean again"
