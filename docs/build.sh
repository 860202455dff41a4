#!/bin/bash
# Makes the documentation's site: `make book`. The pages of the reference are written from what the program says of itself, and from the
# tables in its source that it is built of.
#
# usage: docs/build.sh FOLDER, with DIST naming the folder of the program
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.."

out=${1:?usage: docs/build.sh FOLDER}
pentora=${DIST:?}/pentora
book=$(mktemp -d)
trap 'rm -rf "$book"' EXIT

cp -r docs/. "$book"
mkdir -p "$book/reference"
# Nothing of whoever builds this belongs in it.
say() { env -i HOME=/nonexistent "$pentora" "$@"; }

subcommands() { say "$@" --help | sed -nE '/^Commands:/,/^$/s/^  ([a-z][a-z-]*) .*/\1/p' | grep -vx help || true; }
page() { # page COMMAND...
  printf '\n## `pentora%s`\n\n```text\n' "${*:+ $*}"
  say "$@" --help
  printf '```\n'
  local name
  for name in $(subcommands "$@"); do page "$@" "$name"; done
}
{
  printf '# Commands\n\nWhat each command says of itself. `pentora-node` is a second name of the same program.\n'
  page
} >"$book/reference/commands.md"

say config schema | python3 -c '
import json, sys
print("# Configuration\n\nThe keys of `pentora.yaml`. A flag is stronger than the environment, the environment than the file. Each key has a")
print("variable: `PENTORA_` and its path in capitals, with `_` for each `.`\n\n| key | what it is for | default | values |\n|---|---|---|---|")
def words(values):
    return ", ".join(f"`{value}`" for value in values)
def taken(part):
    # A text with `${VAR}` is taken in place of whatever else.
    said = []
    for one in part.get("anyOf", [part]):
        if "enum" in one:
            said.append(words(one["enum"]))
        elif one.get("type") == "boolean":
            said.append(words(["true", "false"]))
        elif "maximum" in one:
            low = one.get("minimum")
            said.append("%s to %s" % (low if low is not None else "above %s" % one["exclusiveMinimum"], one["maximum"]))
    kinds = part.get("type", [])
    if "object" in kinds:
        said.append("names, each with one of " + words(part["additionalProperties"]["enum"]))
    elif "array" in kinds:
        said.append("one, or a list")
    elif "examples" in part:
        said.append("such as " + words(part["examples"]))
    return "; ".join(said) or "a text"
def walk(schema, path):
    for name, part in schema.get("properties", {}).items():
        inner = path + [name]
        if "properties" in part:
            walk(part, inner)
            continue
        text = lambda value: str(value).replace("|", "\\|").replace("\n", " ")
        default = part.get("default", "")
        print("| `%s` | %s | %s | %s |" % (".".join(inner), text(part.get("description", "")), f"`{text(default)}`" if default != "" else "", text(taken(part))))
walk(json.load(sys.stdin), [])
' >"$book/reference/configuration.md"

# A node of its own says what it answers and what it exports.
node=$(mktemp -d)
touch "$node/log"
env -i HOME="$node" "$DIST/pentora-node" start --init --name reference --data-dir "$node/data" --mesh-listen 127.0.0.1:0 \
  --api-listen 127.0.0.1:0 2>"$node/log" &
pid=$!
trap 'kill -KILL $pid 2>/dev/null || true; rm -rf "$book" "$node"' EXIT
for _ in $(seq 100); do
  api=$(sed -nE 's/.*api="?(http:[^" ]+).*/\1/p' "$node/log" | head -n1)
  [ -z "$api" ] || ! say health --ready --api "$api" >/dev/null 2>&1 || break
  sleep 0.1
done
{
  printf '# Operations\n\nEvery node serves all of it and gives the same answers. What holds for all of them is in [The HTTP API](../API.md); what each takes\n'
  printf 'and answers, in the description that a node gives of itself at `/api/v1/openapi.json`.\n\n| method | path | what it does | asks for |\n|---|---|---|---|\n'
  python3 - "$api" <<'PYTHON'
import json, sys, urllib.request
document = json.load(urllib.request.urlopen(sys.argv[1] + "/api/v1/openapi.json", timeout=10))
for path, operations in document["paths"].items():
    for method, operation in operations.items():
        if method in ("get", "post", "put", "patch", "delete"):
            security = operation.get("security", document.get("security", []))
            names = sorted({name for one in security for name in one})
            said = operation.get("summary", "").replace("|", "\\|")
            print(f"| {method.upper()} | `{path}` | {said} | {'a token' if names else 'nothing'} |")
PYTHON
} >"$book/reference/api.md"
{
  printf '# Metrics\n\nFrom `/metrics` of each node. Those that count what the cluster knows are the same on every node; those of this process begin at\n'
  printf 'zero with it. A line is absent while what it tells cannot be known.\n\n| name | kind | what it is |\n|---|---|---|\n'
  python3 - "$api" <<'PYTHON'
import sys, urllib.request
text = urllib.request.urlopen(sys.argv[1] + "/metrics", timeout=10).read().decode()
helps = {}
for line in text.splitlines():
    if line.startswith("# HELP "):
        name, words = line[7:].split(" ", 1)
        helps[name] = words
    elif line.startswith("# TYPE "):
        name, kind = line[7:].split(" ", 1)
        print(f"| `{name}` | {kind} | {helps[name]} |")
PYTHON
} >"$book/reference/metrics.md"
kill -TERM $pid
wait $pid || true

{
  # Of an enum of events, a row for each: kinds FILE ENUM
  kinds() {
    printf '\n| kind | what happened |\n|---|---|\n'
    awk -v name="$2" '$0 ~ "^pub enum " name " " { inside = 1; next } inside && /^}/ { exit }
      inside && /^    \/\/\/ / { said = said (said ? " " : "") substr($0, 9); next }
      inside && match($0, /^    [A-Z][A-Za-z]*/) {
        name = substr($0, RSTART + 4, RLENGTH - 4); gsub(/[A-Z]/, "_&", name); name = tolower(substr(name, 2))
        printf "| `%s` | %s |\n", name, said; said = ""
      }' "$1"
  }
  printf '# Events\n\n## Of a job\n\nWhat a job'"'"'s history is made of: `pentora job events ID`, `GET /api/v1/jobs/{id}/events`. Each has a time, and where there are such\n'
  printf 'a worker and a unit.\n'
  kinds raft/src/event.rs EventKind
  printf '\n## Of the cluster\n\nWhat `GET /api/v1/events` tells beside those of all jobs: of nodes, and of rules of the policy.\n'
  kinds raft/src/event/of_cluster.rs ClusterEventKind
} >"$book/reference/events.md"

for file in commands configuration api metrics events; do
  [ "$(wc -l <"$book/reference/$file.md")" -gt 15 ] || { echo "reference/$file.md is nearly empty" >&2; exit 1; }
done
# mdBook as PyPI has it built already: a minute of compiling less. One that is installed goes first.
tools=${PENTORA_TOOLS:-$HOME/.cache/pentora/tools}/book-venv
PATH=$PATH:$HOME/.cargo/bin:$tools/bin
if ! command -v mdbook >/dev/null; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --requirement docs/requirements.txt
fi
mdbook build --dest-dir "$(mkdir -p "$out" && cd "$out" && pwd)" "$book"
echo "the site: $out/index.html"
