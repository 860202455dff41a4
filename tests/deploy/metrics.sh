#!/bin/bash
# Has Debian's Prometheus collect from three live nodes and asks it every query of the dashboard and of the alert rules; runs the
# rules' own tests. Part of `make check-deploy`.
#
# Everything is on 127.0.0.0/8, in namespaces of its own (tests/with-namespaces) where those can be made.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${PENTORA_INSIDE:-}" ]; then PENTORA_INSIDE=1 exec tests/with-namespaces "$PWD/tests/deploy/${0##*/}" "$@"; fi

for tool in prometheus promtool python3; do
  command -v $tool >/dev/null || { echo "missing: $tool (apt-get install prometheus python3)" >&2; exit 1; }
done
promtool check rules deploy/observability/alerts.yaml
promtool test rules deploy/observability/alerts_test.yaml

bin=${DIST:-${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist}
dir=$(mktemp -d)
pids=()
cleanup() {
  trap - EXIT
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap cleanup EXIT
for variable in $(compgen -e | grep -E '^PENTORA_|^WORKER_TOKEN$|^COORDINATOR_URL$' || true); do unset "$variable"; done
export HOME=$dir PENTORA_TOKEN_FILE=$dir/n1/admin.token
on() {
  local port=$1
  shift
  PENTORA_API=http://127.0.0.1:$port "$bin/pentora" "$@"
}
until_so() { # until_so SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "$what: not in time" >&2; tail -n 20 "$dir"/*.log >&2; exit 1; }
    sleep 0.2
  done
}
node() { # node NUMBER VERB OPTION...
  local number=$1
  shift
  "$bin/pentora-node" "$@" --name "n$number" --data-dir "$dir/n$number" --mesh-listen "127.0.0.1:1740$number" \
    --api-listen "127.0.0.1:1808$number" >"$dir/n$number.log" 2>&1 &
  pids+=($!)
}
node 1 start --init
until_so 30 "the first node" on 18081 health --ready
for number in 2 3; do
  on 18081 coordinator worker-token create --name "n$number" >"$dir/token$number" 2>/dev/null
  node $number join --peer 127.0.0.1:17401 --token-file "$dir/token$number"
done
three() { [ "$(on 18081 cluster status --json | grep -oE '"role": *"voter"' | wc -l)" = 3 ]; }
until_so 60 "three voters" three

cat >"$dir/prometheus.yml" <<YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [$PWD/deploy/observability/alerts.yaml]
scrape_configs:
- job_name: pentora
  static_configs: [{targets: ["127.0.0.1:18081", "127.0.0.1:18082", "127.0.0.1:18083"]}]
YAML
prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/tsdb" --web.listen-address=127.0.0.1:19090 --log.level=warn \
  >"$dir/prometheus.log" 2>&1 &
pids+=($!)

# Something of everything: a job, a standing scan, requests that are refused, a leader that hands over.
on 18082 keep 127.0.1.0/29 --ports 18081 --fresh 1h --rate 50 --name lan >/dev/null
on 18082 scan 127.0.1.0/28 --ports 18081,18082 --no-discovery >/dev/null
# The standing scan's first pass ends.
seen() { on 18081 keep list --json | grep -qE '"fresh_share": *1'; }
until_so 60 "the standing scan's first pass" seen

python3 - "$dir" <<'PYTHON'
import json, re, sys, time, urllib.parse, urllib.request

BASE = "http://127.0.0.1:19090/api/v1/"
# What is told only where something is wrong: the query is well formed and answered, with nothing.
MAY_BE_EMPTY = ("pentora_chunks_short",)

def ask(what, **parameters):
    with urllib.request.urlopen(BASE + what + "?" + urllib.parse.urlencode(parameters), timeout=10) as answer:
        return json.load(answer)["data"]

dashboard = json.load(open("deploy/observability/dashboard.json"))
queries = []
for panel in dashboard["panels"]:
    queries += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
queries += [(note["name"], note["expr"]) for note in dashboard["annotations"]["list"]]
def settled(expr):
    return expr.replace("$job", ".*").replace("$cluster", ".*").replace("$__rate_interval", "10s").replace("$__range", "5m")

# A rule is asked for its parts: what it compares, not whether it fires.
rules = open("deploy/observability/alerts.yaml").read()
names = sorted(set(re.findall(r"pentora_[a-z_]+", rules + json.dumps(dashboard))))
deadline, wrong = time.time() + 60, ["not asked"]
while wrong and time.time() < deadline:
    wrong = []
    for title, expr in queries:
        data = ask("query", query=settled(expr))
        if not data["result"] and "changes(" not in expr and not any(name in expr for name in MAY_BE_EMPTY):
            wrong.append(f"{title}: {expr}: no answer")
    for name in names:
        if name not in MAY_BE_EMPTY and not ask("query", query=name)["result"]:
            wrong.append(f"{name}: nobody exports it")
    if wrong:
        time.sleep(1)
fired = [alert["labels"]["alertname"] for alert in ask("alerts")["alerts"] if alert["state"] == "firing"]
if fired:
    wrong.append(f"alerts fire on a cluster that is well: {fired}")
broken = [rule["name"] for group in ask("rules")["groups"] for rule in group["rules"] if rule["health"] != "ok"]
if broken:
    wrong.append(f"rules that cannot be evaluated: {broken}")
print(f"{len(queries)} queries, {len(names)} metrics, {len(wrong)} without an answer")
sys.exit("\n".join(wrong) if wrong else 0)
PYTHON
