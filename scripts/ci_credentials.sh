#!/usr/bin/env bash
# For a job that reaches hosts: its secrets, from the environment, as files that only it can read, and what tells Ansible
# of them. A host whose key is not among the known ones is refused. The job removes $RUNNER_TEMP/credentials at its end.
set -euo pipefail
for name in DEPLOY_SSH_KEY DEPLOY_KNOWN_HOSTS ANSIBLE_VAULT_PASSWORD; do
  if [ -z "${!name:-}" ]; then
    echo "The secret $name is not set for this environment. Nothing was changed; set it in the repository's settings." >&2
    exit 2
  fi
done
umask 077
folder=$RUNNER_TEMP/credentials
mkdir -p "$folder"
# A key without its last line break is none.
printf '%s\n' "$DEPLOY_SSH_KEY" >"$folder/key"
printf '%s\n' "$DEPLOY_KNOWN_HOSTS" >"$folder/known_hosts"
printf '%s\n' "$ANSIBLE_VAULT_PASSWORD" >"$folder/vault_password"
if ! ssh-keygen -y -P '' -f "$folder/key" >/dev/null 2>&1; then
  echo "DEPLOY_SSH_KEY is no private key without a passphrase. Nothing was changed." >&2
  exit 2
fi
if ! ssh-keygen -l -f "$folder/known_hosts" >/dev/null 2>&1; then
  echo "DEPLOY_KNOWN_HOSTS has no host key, such as ssh-keyscan prints. Nothing was changed." >&2
  exit 2
fi
ssh="-o UserKnownHostsFile=$folder/known_hosts -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
cat >>"$GITHUB_ENV" <<END
ANSIBLE_PRIVATE_KEY_FILE=$folder/key
ANSIBLE_VAULT_PASSWORD_FILE=$folder/vault_password
ANSIBLE_HOST_KEY_CHECKING=true
ANSIBLE_SSH_COMMON_ARGS=$ssh
END
