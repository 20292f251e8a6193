#!/usr/bin/env bash
# Asks schemathesis whether the service answers as its own OpenAPI document says: a server on a free loopback port, with a
# private Postgres, some rows and an admin's key, gets requests made from the document, right and wrong ones. A 500, a status,
# media type or header that is not documented, a body that does not fit its schema, a request taken that the document refuses, or one
# taken without the key fails.
#
#   cargo build && tests/schemathesis_check.sh [MORE OPTIONS OF schemathesis run]
#
# SCHEMATHESIS names the program (`pip install schemathesis`; seen with 4.32.5), TXCAT the binary, EXAMPLES the cases for an
# operation, SEED where they begin, WORKERS the requests at a time (more than 1 from Python 3.11.8 on: before, Python's own parser
# breaks in threads). Needs the encoder in `models`.
set -euo pipefail
cd "$(dirname "$0")/.."

txcat=${TXCAT:-target/debug/txcat}
schemathesis=${SCHEMATHESIS:-schemathesis}
for program in "$txcat" "$schemathesis" curl; do
    command -v "$program" >/dev/null || { echo "SKIPPED: there is no $program" >&2; exit 0; }
done
schemathesis=$(realpath --no-symlinks "$(command -v "$schemathesis")")

work=$(mktemp -d)
chmod 755 "$work"
server=
clean_up() {
    [[ -z $server ]] || { kill "$server" && wait "$server"; } 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

unset DATABASE_URL
export TXCAT_DATA_DIR="$work/data"
port=${PORT:-$((20000 + $$ % 20000))}
base="http://127.0.0.1:$port"
key=$("$txcat" keys create --name schemathesis --scope ingest,read,review,batch,admin 2>/dev/null | grep -o 'txcat_[A-Za-z0-9_-]*' | head -n 1)
"$txcat" serve --bind "127.0.0.1:$port" --requests-per-minute 0 --audit-share 0.5 >"$work/server.log" 2>&1 &
server=$!
for _ in $(seq 1 120); do
    curl --silent --fail --output /dev/null "$base/readyz" && break
    kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; exit 1; }
    sleep 1
done

send() { curl --silent --show-error --fail-with-body --output /dev/null -H "authorization: Bearer $key" -H 'content-type: application/json' "$@"; }
# Something to find: rows, a decision, an endpoint.
rows=$(for i in $(seq 1 30); do
    printf '{"id":"t-%s","account_id":"a-%s","posted_at":"2026-03-%02d","amount":"%s.50","currency":"USD","direction":"debit","descriptor":"SQ *CORNER COFFEE %s OAKLAND CA"},' \
        "$i" "$((i % 4))" "$((i % 28 + 1))" "$i" "$((i % 5))"
done)
send "$base/v1/transactions" -d "{\"transactions\":[${rows%,}]}"
send "$base/v1/transactions/t-1/correction" -d '{"category":"restaurant","scope":"account_merchant"}'
send "$base/v1/webhooks" -d '{"url":"https://backend.example/hooks/txcat"}'

# What the document takes may still be refused, for what it says: a category of another taxonomy, an adapter that isn't there.
# A call with many rows is answered with 200 also where rows are refused: each has its own problem.
cat >"$work/schemathesis.toml" <<'TOML'
[checks]
positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /v1/transactions"
checks.negative_data_rejection.enabled = false
TOML

# A stream of server-sent events has no end to wait for.
cd "$work"
"$schemathesis" --config-file "$work/schemathesis.toml" run "$base/openapi.json" -H "Authorization: Bearer $key" \
    --exclude-path /v1/reviews/live --seed "${SEED:-1}" --max-examples "${EXAMPLES:-15}" --workers "${WORKERS:-1}" --request-timeout 30 \
    --continue-on-failure --phases examples,coverage,fuzzing,stateful --generation-database none --warnings off "$@"
# Nothing broke beside it.
! grep -E 'panicked|"something broke"' "$work/server.log"
