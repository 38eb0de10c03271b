#!/bin/sh
# On cgroup v2 the container has a namespace of its own, mounted read-only; systemd has to write there.
set -eu
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || mount -o remount,rw /sys/fs/cgroup
exec /lib/systemd/systemd
