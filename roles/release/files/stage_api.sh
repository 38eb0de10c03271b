#!/bin/sh
# stage_api.sh SOURCE TARGET NODE: the build context of the API's image, moved into place when it is whole.
set -eu
here=$(dirname "$0")
# shellcheck source=/dev/null
. "$here/copy_source.sh"
source=$1 target=$2 node=$3
work="$target.work"
trap 'rm -rf "$work"' EXIT
rm -rf "$work" "$target"
copy_source "$source" "$work/app"
(cd "$work/app" && npm ci --omit=dev --ignore-scripts --no-progress)
rm -rf "$work/app/test"
mv "$work/app/Dockerfile" "$work/Dockerfile"
# The wheel holds a plain binary; a link into the virtual environment would not survive the copy.
cp "$("$node" -p process.execPath)" "$work/node"
mv "$work" "$target"
