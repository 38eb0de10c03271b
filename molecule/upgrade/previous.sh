#!/usr/bin/env bash
# Deploy the release before this one from its own archive, on the host of the scenarios.
# That is what MOLECULE_UPGRADE_FROM names (a tag, a branch or a commit), else the last tag before this commit. While there
# are no tags it is LAST, the last state that was delivered.
set -euo pipefail
LAST=464e5248f525ea829e2853b69b1c7554591099b7
cd "$(dirname "$0")/../.."
inventory=$PWD/molecule/inventory/${MOLECULE_DEBIAN:-bookworm}.yml
from=${MOLECULE_UPGRADE_FROM:-$(git describe --tags --abbrev=0 'HEAD^' 2>/dev/null || echo "$LAST")}
commit=$(git rev-parse --verify --quiet "$from^{commit}") || {
  echo "There is no $from to upgrade from. A shallow clone has no history (git fetch --unshallow); MOLECULE_UPGRADE_FROM names another." >&2
  exit 1
}
echo "--> upgrading from $(git log -1 --format='%h (%cs): %s' "$commit")"

# Kept from run to run, under its commit; whole or not there.
tree=$PWD/.dev/upgrade/$commit
if [ ! -d "$tree" ]; then
  rm -rf .dev/upgrade
  mkdir -p "$tree.part"
  git archive "$commit" | tar -x -C "$tree.part"
  mv "$tree.part" "$tree"
fi
# Its own settings, not those of the run around it.
unset "${!ANSIBLE_@}" "${!MOLECULE_@}" VIRTUAL_ENV MAKEFLAGS
cd "$tree"
make setup-python
export ANSIBLE_CONFIG=$tree/ansible.cfg ANSIBLE_HOME=$tree/.dev/ansible PATH=$tree/.dev/venv/bin:$PATH
# What watches is left out, and its images need not travel.
ansible-playbook --inventory="$inventory" --skip-tags=monitoring deploy.yml --extra-vars "$(cat <<JSON
{"molecule_project": "$tree", "stack_images": "{{ __stack_images | dict2items | selectattr('key', 'in', ['postgres', 'redis', 'nginx']) | items2dict }}"}
JSON
)"
