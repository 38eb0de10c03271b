#!/bin/sh
# build_frontend.sh SOURCE TARGET: the production build, in a copy, moved into place when it is whole.
set -eu
here=$(dirname "$0")
# shellcheck source=/dev/null
. "$here/copy_source.sh"
source=$1 target=$2
work="$target.work"
trap 'rm -rf "$work"' EXIT
rm -rf "$work" "$target"
copy_source "$source" "$work"
cd "$work"
npm ci --no-progress
npm run build
mv dist "$target"
