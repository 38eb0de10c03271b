#!/usr/bin/env bash
# The image of a bare Debian machine. Usage: image.sh SUITE
set -euo pipefail
cd "$(dirname "$0")"
suite=$1
docker image inspect "sixty/machine:$suite" >/dev/null 2>&1 && exit
printf -- '--> making a bare Debian machine (%s)\n' "$suite"
sh ../../roles/image/files/base/build.sh "sixty/machine-base:$suite" "$suite"
docker build --quiet --tag "sixty/machine:$suite" --build-arg "BASE=sixty/machine-base:$suite" . >/dev/null
