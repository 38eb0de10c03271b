#!/bin/sh
# First start: make the cluster, beside the place where it will be, so that a start that was
# cut short leaves nothing that looks like a database. Environment as in the official image:
# POSTGRES_USER, POSTGRES_PASSWORD_FILE, POSTGRES_INITDB_ARGS, PGDATA.
set -eu
if [ "${1:-}" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD_FILE:?is not set: no cluster is made without a password}"
  rm -rf "$PGDATA.new"
  # POSTGRES_INITDB_ARGS is a list of options.
  # shellcheck disable=SC2086
  initdb --pgdata="$PGDATA.new" --username="${POSTGRES_USER:-postgres}" \
    --pwfile="$POSTGRES_PASSWORD_FILE" --encoding=UTF8 --locale=C.UTF-8 ${POSTGRES_INITDB_ARGS:-}
  mv "$PGDATA.new" "$PGDATA"
fi
exec "$@"
