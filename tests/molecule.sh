#!/usr/bin/env bash
# Molecule: each role on a host of its own, a container with systemd and an engine.
# Usage: tests/molecule.sh [SCENARIO...|all]; without one, those that every change has to pass. Needs "make setup-test".
# MOLECULE_DEBIAN=bookworm (Debian 12, the default) or trixie (Debian 13). MOLECULE_REGISTRY=1 where a registry answers.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.dev/venv/bin:$PATH"
export ANSIBLE_CONFIG="$PWD/ansible.cfg"
# What Molecule and Ansible write goes below .dev, not into the user's home.
export ANSIBLE_HOME="$PWD/.dev/ansible"
export MOLECULE_GLOB="molecule/*/molecule.yml" MOLECULE_COMMAND_BORDERS=false
export MOLECULE_DEBIAN=${MOLECULE_DEBIAN:-bookworm}
[ -f "molecule/inventory/$MOLECULE_DEBIAN.yml" ] || {
  echo "There is no host for MOLECULE_DEBIAN=$MOLECULE_DEBIAN: $(cd molecule/inventory && echo *.yml)" >&2
  exit 1
}

# A run that was cut short, an earlier one or this, leaves nothing behind. Only a failure is worth reading.
destroy() {
  local output
  output=$(molecule destroy --no-report 2>&1) || { echo "$output" >&2; echo "The test host could not be removed." >&2; return 1; }
}
trap destroy EXIT
trap 'exit 130' INT TERM
destroy

[ $# -gt 0 ] || set -- api blue_green nginx postgres
if [ "$*" = all ]; then
  molecule test --all
else
  molecule test "${@/#/--scenario-name=}"
fi
