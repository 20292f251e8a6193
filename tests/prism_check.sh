#!/usr/bin/env bash
# Asks a Prism mock of OpenAI's OpenAPI document whether our requests are those of the document. Prism validates each
# request and refuses what is not; its answers are made up, so only the protocol is checked.
#
#   tests/prism_check.sh [PATH_OF_THE_DOCUMENT]
#
# Needs Node.js and npm, which fetches @stoplight/prism-cli unless PRISM names the program. The document is not part of
# this repository: by default it is looked for beside the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."

document=${1:-../shared/specs/openai-openapi.json}
if [[ ! -r $document ]]; then
    echo "SKIPPED: no OpenAPI document at $document" >&2
    exit 0
fi
for program in node npx curl; do
    command -v "$program" >/dev/null || { echo "SKIPPED: $program is not installed" >&2; exit 0; }
done

work=$(mktemp -d)
server=
clean_up() {
    [[ -z $server ]] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

# The paths that we use, with whatever they refer to; the whole document takes Prism minutes.
node - "$document" "$work/openapi.json" <<'JS'
const fs = require("fs");
const [from, to] = process.argv.slice(2);
const whole = JSON.parse(fs.readFileSync(from));
const used = {
  "/chat/completions": ["post"], "/files": ["get", "post"], "/files/{file_id}": ["delete"],
  "/files/{file_id}/content": ["get"], "/batches": ["get", "post"], "/batches/{batch_id}": ["get"],
  "/fine_tuning/jobs": ["get", "post"], "/fine_tuning/jobs/{fine_tuning_job_id}": ["get"],
  "/fine_tuning/jobs/{fine_tuning_job_id}/cancel": ["post"],
  "/fine_tuning/jobs/{fine_tuning_job_id}/events": ["get"], "/models": ["get"],
};
const paths = {};
for (const [path, methods] of Object.entries(used)) {
  if (!whole.paths[path]) throw new Error(`the document has no ${path}`);
  paths[path] = Object.fromEntries(methods.map((method) => [method, whole.paths[path][method]]));
}
const components = { securitySchemes: whole.components.securitySchemes };
const wanted = [paths];
while (wanted.length > 0) {
  JSON.stringify(wanted.pop(), (key, value) => {
    if (key === "$ref" && typeof value === "string") {
      const [kind, name] = value.replace("#/components/", "").split("/");
      components[kind] ??= {};
      if (!(name in components[kind])) {
        components[kind][name] = whole.components[kind][name];
        wanted.push(components[kind][name]);
      }
    }
    return value;
  });
}
// What OpenAPI 3.0 had of its own, in the words of 3.1: Prism reads the document as what it says that it is.
const modern = (value) => {
  if (Array.isArray(value)) return value.map(modern);
  if (value === null || typeof value !== "object") return value;
  const out = Object.fromEntries(Object.entries(value).map(([key, member]) => [key, modern(member)]));
  for (const [flag, bound] of [["exclusiveMinimum", "minimum"], ["exclusiveMaximum", "maximum"]]) {
    if (out[flag] === true) { out[flag] = out[bound]; delete out[bound]; }
    if (out[flag] === false) delete out[flag];
  }
  if (out.nullable === true) { delete out.nullable; return { anyOf: [out, { type: "null" }] }; }
  return out;
};
const trimmed = { openapi: whole.openapi, info: whole.info, servers: [{ url: "/" }], security: whole.security };
fs.writeFileSync(to, JSON.stringify({ ...trimmed, paths: modern(paths), components: modern(components) }));
JS

port=${PRISM_PORT:-$((20000 + $$ % 20000))}
read -r -a prism <<<"${PRISM:-npx --yes @stoplight/prism-cli}"
"${prism[@]}" mock --errors --host 127.0.0.1 --port "$port" "$work/openapi.json" >"$work/prism.log" 2>&1 &
server=$!
for _ in $(seq 1 120); do
    curl --silent --output /dev/null -H 'authorization: Bearer none' "http://127.0.0.1:$port/models" && break
    kill -0 "$server" 2>/dev/null || { cat "$work/prism.log" >&2; exit 1; }
    sleep 1
done

# A request that is wrong is refused: else nothing below would say anything.
status=$(curl --silent --output "$work/refused.json" --write-out '%{http_code}' -H 'authorization: Bearer none' \
    -H 'content-type: application/json' -d '{"model":"gpt-4o-mini","messages":[]}' "http://127.0.0.1:$port/chat/completions")
if [[ $status != 4?? ]]; then
    echo "Prism let a wrong request pass (status $status)" >&2
    exit 1
fi

if ! TXCAT_PRISM_URL="http://127.0.0.1:$port" TXCAT_PRISM_KEY=none \
    cargo test --locked --test it -- --ignored --exact contract::prism_has_nothing_to_object; then
    tail -n 60 "$work/prism.log" >&2
    exit 1
fi
refused=$(grep -c 'Request terminated with error' "$work/prism.log" || true)
requests=$(grep -c 'Request received' "$work/prism.log" || true)
echo "Prism: $requests requests, $refused refused (one was wrong on purpose)"
[[ $refused == 1 ]]
