#!/bin/sh
# The container has a cgroup namespace of its own, mounted read-only, on cgroup v1 with a mount for each controller.
# systemd and the engine have to write there.
set -eu
for mount in $(awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/mounts); do
  # Of this mount alone: the hierarchy itself is everybody's.
  mount -o remount,bind,rw "$mount"
done
# The engine's own choice would be that of the outer machine's cgroup version.
[ -e /etc/docker/daemon.json ] || {
  mkdir -p /etc/docker
  printf '{"exec-opts": ["native.cgroupdriver=%s"]}\n' "$CGROUP_DRIVER" >/etc/docker/daemon.json
}
exec /lib/systemd/systemd
