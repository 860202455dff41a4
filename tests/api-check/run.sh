#!/bin/bash
# The API of a node that runs, against its own description, by programs that are not ours: `make api-check`.
#
# openapi-spec-validator says whether the description is OpenAPI 3.1, schemathesis asks every operation with what the
# description allows and with what it does not. No answer may be a 5xx, nor one that is not described. The node is alone in
# network namespaces of its own, so nothing that it is told to scan is outside.
#
# CASES is how many cases each operation gets in each phase (default 25), SEED chooses them (default 1).
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}
tools=$HOME/.cache/pentora/api-check

if [ "${1-}" != inside ]; then
  # The tools come from PyPI, so before the network goes.
  if ! "$tools/bin/schemathesis" --version >/dev/null 2>&1; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet openapi-spec-validator==0.9.0 schemathesis==4.32.5
  fi
  exec tests/with-namespaces tests/api-check/run.sh inside
fi

folder=$(mktemp -d)
"$target/release/pentora-node" start --init --name n1 --data-dir "$folder/n1" \
  --mesh-listen 127.0.0.1:7400 --api-listen 127.0.0.1:8080 2>"$folder/log" &
node=$!
trap 'kill "$node" 2>/dev/null || true; wait "$node" 2>/dev/null || true; rm -rf "$folder"' EXIT

api=http://127.0.0.1:8080
ready() { "$target/release/pentora-node" cluster status --api "$api" --token-file "$folder/n1/admin.token" >/dev/null 2>&1; }
for _ in $(seq 100); do
  ready && break
  kill -0 "$node" || { cat "$folder/log"; exit 1; }
  sleep 0.2
done
ready

# What there is to ask about: a job that is held, and one of each of what has a name.
export PENTORA_API=$api PENTORA_TOKEN_FILE=$folder/n1/admin.token
pentora() { "$target/release/pentora-node" --quiet "$@" >/dev/null; }
JOB=$("$target/release/pentora-node" scan 127.0.0.1 --ports 9,10,11 --rate 1 --no-discovery --detach 2>/dev/null | tail -n 1)
export JOB
pentora job pause "$JOB"
pentora schedule add x 127.0.0.1 --ports 9 --schedule @yearly
pentora keep 127.0.0.1 --ports 9 --fresh 7d --rate 10 --name x
pentora scope add 127.0.0.0/8 --name x --reason check
pentora exclude add 127.0.0.9 --name x
pentora profile add x ports=9
pentora window add x 127.8.0.0/16 --hours 22:00-06:00 --zone UTC
pentora budget add 127.7.0.0/16 --rate 100 --name x
pentora site add x 127.6.0.0/16
pentora token create --name x --role viewer

python=$tools/bin/python
"$python" - "$api/api/v1/openapi.json" "$folder/openapi.json" <<'PYTHON'
import json, sys, urllib.request
from openapi_spec_validator import validate
description = json.load(urllib.request.urlopen(sys.argv[1]))
validate(description)
operations = sum(len(item) for item in description["paths"].values())
print(f"the description is valid OpenAPI {description['openapi']}: {operations} operations")
json.dump(description, open(sys.argv[2], "w"))
PYTHON

token=$(cat "$folder/n1/admin.token")
status=0
"$tools/bin/schemathesis" --no-color --config-file tests/api-check/schemathesis.toml run "$folder/openapi.json" \
  --url "$api" --header "Authorization: Bearer $token" \
  --max-examples "${CASES:-25}" --seed "${SEED:-1}" --no-shrink || status=$?

# It has to have lived through all that.
kill -0 "$node" || { echo "the node ended"; tail -n 40 "$folder/log"; exit 1; }
if grep -i panicked "$folder/log"; then
  exit 1
fi
ready
exit "$status"
