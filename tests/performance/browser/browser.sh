#!/usr/bin/env bash
# Chromium with the given flags, for as long as standard input is open. Whoever started it may be killed in any way:
# the pipe closes, this ends, and the kernel ends all processes of the container with it.
set -euo pipefail
export HOME=/tmp
chromium --user-data-dir=/tmp/profile "$@" about:blank </dev/null &
# A background job reads /dev/null unless it is told otherwise.
cat <&0 >/dev/null &
wait -n
