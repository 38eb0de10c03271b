#!/usr/bin/env bash
# Tells people that the pipeline failed: Slack where SLACK_WEBHOOK_URL is set, otherwise an issue, one for all failures in a
# row. NEEDS is GitHub's context of that name, as JSON.
set -euo pipefail
failed=$(jq -r '[to_entries[] | select(.value.result == "failure") | .key] | join(", ")' <<<"$NEEDS")
run=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID
text="Pipeline failed in ${failed:-an unknown job}: $GITHUB_REF_NAME, commit ${GITHUB_SHA:0:7}. What was served before is served still, unless the run says otherwise: $run"

if [ -n "${SLACK_WEBHOOK_URL:-}" ]; then
  # The address is the secret, so it is no argument that others on the machine could see.
  jq -n --arg text "$text" '{$text}' \
    | curl --fail --silent --show-error --max-time 20 --header 'Content-Type: application/json' --data @- \
        --config <(printf 'url = "%s"\n' "$SLACK_WEBHOOK_URL") >/dev/null
  exit
fi
title="The deployment pipeline fails"
issue=$(gh issue list --repo "$GITHUB_REPOSITORY" --state open --search "in:title \"$title\"" --json number --jq '.[0].number // empty')
if [ -n "$issue" ]; then
  gh issue comment "$issue" --repo "$GITHUB_REPOSITORY" --body "$text"
else
  gh issue create --repo "$GITHUB_REPOSITORY" --title "$title" --body "$text"
fi
