#!/usr/bin/env bash
# Start a machine, a container with systemd in which an engine can run, and wait until it is up.
# Usage: start.sh NAME IMAGE [OPTION OF "docker run"...]
# What the engine and the stack keep is on volumes of its own, or in MACHINE_DISK, a directory, where that is set.
set -euo pipefail
name=$1 image=$2
shift 2
disk=${MACHINE_DISK:-}
docker run --detach --name "$name" --hostname "$name" --memory 4g \
  --cap-add ALL --cap-drop SYS_RESOURCE --cgroupns host \
  --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined \
  --volume /sys/fs/cgroup:/sys/fs/cgroup:rw --volume "${disk:+$disk/docker:}/var/lib/docker" --volume "${disk:+$disk/srv:}/srv" \
  --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec "$@" "$image" >/dev/null
for _ in $(seq 30); do
  # "degraded" is a machine that runs; which unit failed is for the test to find out.
  case $(docker exec "$name" systemctl is-system-running 2>&1) in running | degraded) exit ;; esac
  sleep 1
done
echo "The machine $name is not up after 30 seconds; docker logs $name" >&2
exit 1
