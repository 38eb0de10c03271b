#!/usr/bin/env bash
# What Galaxy says of the archive when it imports it: galaxy-importer, which needs versions of its own, in its own place.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.4.44
place=.dev/galaxy
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "$(cat "$place/version" 2>/dev/null)" != "$version" ]; then
  echo "--> galaxy-importer, a minute"
  python3 -m venv --clear "$place"
  "$place/bin/python" -m pip install --quiet --disable-pip-version-check "galaxy-importer==$version"
  # Its ansible-lint has to find the collections that this one depends on.
  packages=$(.dev/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  ln -sfn "$packages/ansible_collections" "$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ansible_collections"
  echo "$version" > "$place/version"
fi

.dev/venv/bin/ansible-galaxy collection build --output-path "$work" . >/dev/null
printf '[galaxy-importer]\nRUN_ANSIBLE_TEST = False\nCHECK_REQUIRED_TAGS = True\n' > "$work/config"
cd "$work"
PATH=$OLDPWD/$place/bin:$PATH GALAXY_IMPORTER_CONFIG=$work/config python -m galaxy_importer.main ./*.tar.gz 2>&1 | tee log
if grep -E 'WARNING|ERROR' log >/dev/null; then
  echo "Galaxy would import it, but not without remarks; see above." >&2
  exit 1
fi
