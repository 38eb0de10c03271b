#!/usr/bin/env bash
# Prints the name of an image with Chromium, which is built where it is absent.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=/dev/null
. .dev/images.env

# Of what it is made, so that it is built once for each.
digest=$(cat tests/performance/browser/* <(echo "$SIXTY_BASE_IMAGE") | sha256sum | head -c 12)
image=${SIXTY_BASE_IMAGE%/*}/chromium:$digest
if ! docker image inspect "$image" >/dev/null 2>&1; then
  echo "--> An image with Chromium, about a minute" >&2
  if ! said=$(docker build --build-arg BASE="$SIXTY_BASE_IMAGE" --tag "$image" tests/performance/browser 2>&1); then
    tail -n 30 <<<"$said" >&2
    echo "The image with Chromium could not be built; no stack was touched. Are Debian's packages within reach?" >&2
    exit 2
  fi
fi
echo "$image"
