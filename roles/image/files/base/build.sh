#!/bin/sh
# Make the base image from Debian packages, for machines that reach no container registry.
# Usage: build.sh IMAGE SUITE [MIRROR]
set -eu
image=$1 suite=$2 mirror=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Documentation and locales are a third of a minimal system and nothing in a container reads them.
# $mirror is one optional word.
# shellcheck disable=SC2086
mmdebstrap --quiet --variant=minbase \
  --include=ca-certificates \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$suite" "$work/base.tar" $mirror

docker import \
  --change 'ENV LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive' \
  --change 'CMD ["bash"]' \
  "$work/base.tar" "$image" >/dev/null
