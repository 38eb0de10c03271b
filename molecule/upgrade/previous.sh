#!/usr/bin/env bash
# Deploy the version before this one from its own archive. Usage: previous.sh INVENTORY
# That is MOLECULE_UPGRADE_FROM (a tag, a branch or a commit), else the last tag before this commit, else the commit
# before what is here: HEAD itself while there are changes that are not committed.
set -euo pipefail
inventory=$1
cd "$(dirname "$0")/../.."
from=${MOLECULE_UPGRADE_FROM:-}
[ -n "$from" ] || from=$(git describe --tags --abbrev=0 'HEAD^' 2>/dev/null) || from=
[ -n "$from" ] || { git diff --quiet HEAD -- && from='HEAD^' || from=HEAD; }
commit=$(git rev-parse --verify --quiet "$from^{commit}") || {
  echo "There is no $from to upgrade from. A shallow clone has no history (git fetch --unshallow); MOLECULE_UPGRADE_FROM names another." >&2
  exit 1
}
tree=$PWD/.dev/upgrade/$commit
echo "--> from $from ($commit)"

# Kept from run to run, under its commit; whole or not there.
if [ ! -d "$tree" ]; then
  rm -rf .dev/upgrade
  mkdir -p "$tree.part"
  git archive "$commit" | tar -x -C "$tree.part"
  mv "$tree.part" "$tree"
fi
# Its own settings, not those of the run around it.
unset "${!ANSIBLE_@}" "${!MOLECULE_@}" VIRTUAL_ENV MAKEFLAGS
cd "$tree"
make setup-python setup-app
export ANSIBLE_CONFIG=$tree/ansible.cfg ANSIBLE_HOME=$tree/.dev/ansible PATH=$tree/.dev/venv/bin:$PATH
# What watches is left out, and its images need not travel.
ansible-playbook --inventory="$inventory" --skip-tags=monitoring deploy.yml --extra-vars "$(cat <<JSON
{"molecule_project": "$tree", "stack_images": "{{ __stack_images | dict2items | selectattr('key', 'in', ['postgres', 'redis', 'nginx']) | items2dict }}"}
JSON
)"
