#!/usr/bin/env bash
# The API's tests against a real PostgreSQL and a real Redis, from the images that the stack runs.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=/dev/null
. .dev/images.env
name=sixty-test-api
work=$(mktemp -d)
cleanup() {
  docker rm --force --volumes "$name-postgres" "$name-redis" >/dev/null 2>&1 || : "none was started"
  rm -rf "$work"
}
trap cleanup EXIT
cleanup
mkdir -p "$work"

# Published ports come from the bridge's address, which the cluster's own pg_hba.conf does not know.
printf 'local all all peer\nhost all all all scram-sha-256\n' > "$work/pg_hba.conf"
TEST_DATABASE_PASSWORD=$(head -c 18 /dev/urandom | base64 | tr -d '+/')
printf %s "$TEST_DATABASE_PASSWORD" > "$work/password"
chmod -R a+rX "$work"

docker run --detach --name "$name-postgres" --memory 512m --publish 127.0.0.1::5432 --volume "$work:/test:ro" \
  --env POSTGRES_PASSWORD_FILE=/test/password "$SIXTY_POSTGRES_IMAGE" \
  postgres -c listen_addresses='*' -c hba_file=/test/pg_hba.conf >/dev/null
docker run --detach --name "$name-redis" --memory 128m --publish 127.0.0.1::6379 "$SIXTY_REDIS_IMAGE" \
  redis-server --save '' --protected-mode no >/dev/null

echo "--> waiting for PostgreSQL and Redis"
for _ in $(seq 60); do
  if docker exec "$name-postgres" pg_isready -q -h /var/run/postgresql -d postgres \
    && docker exec "$name-redis" redis-cli ping >/dev/null; then break; fi
  sleep 1
done

port() { docker port "$1" "$2/tcp" | head -n 1 | sed 's/.*://'; }
export TEST_DATABASE_PASSWORD TEST_DATABASE_HOST=127.0.0.1 TEST_DATABASE_USER=postgres TEST_REDIS_HOST=127.0.0.1
TEST_DATABASE_PORT=$(port "$name-postgres" 5432)
TEST_REDIS_PORT=$(port "$name-redis" 6379)
export TEST_DATABASE_PORT TEST_REDIS_PORT
npm --prefix app/api test
