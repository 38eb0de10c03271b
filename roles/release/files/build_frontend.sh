#!/bin/sh
# build_frontend.sh SOURCE TARGET: the production build, in a copy and within its memory limit, moved into place when it
# is whole. Beside it come the sizes of its files and its source maps, where the build makes them; neither is served.
set -eu
here=$(dirname "$0")
# shellcheck source=/dev/null
. "$here/copy_source.sh"
source=$1 target=$2
work="$target.work"
trap 'rm -rf "$work"' EXIT
rm -rf "$work" "$target" "$target.report.json" "$target.sourcemaps"
copy_source "$source" "$work"
limited=$(cd "$here" && pwd)/run_limited.py
cd "$work"
npm ci --no-progress
python3 "$limited" --report bundle-report.json npm run build
[ ! -e bundle-report.json ] || mv bundle-report.json "$target.report.json"
[ ! -e sourcemaps ] || mv sourcemaps "$target.sourcemaps"
mv dist "$target"
