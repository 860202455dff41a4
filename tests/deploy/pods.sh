#!/bin/bash
# Runs the pods of deploy/kubernetes with `podman kube play`, each on a host of its own: three members by the StatefulSet's template and
# a scanner by the Deployment's, from the image and the Secrets that docs/how-to/kubernetes.md makes. Pods that wait for the first one are
# kept by their probes and end when they are told to. Then they are restarted one by one under a scan, as the StatefulSet does for an
# update; and then every member is stopped and started again with another address at once. Each pod's probes are asked all the while
# (tests/deploy/probes.py), and none has a pod started again. Part of `make check-deploy`; wants root. Prints what it measured:
# docs/BENCHMARKS.md.
#
# What a cluster does beside that (schedule, autoscale, roll out) is not run here. podman has no StatefulSets, so its template is made
# into a pod for each ordinal; names of pods are told by a file of hosts, as a cluster's name servers would.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${PENTORA_INSIDE:-}" ]; then PENTORA_INSIDE=1 exec tests/with-namespaces "$PWD/tests/deploy/${0##*/}" "$@"; fi
for tool in podman buildah runc kubectl python3; do
  command -v $tool >/dev/null || [ -x /usr/sbin/$tool ] || { echo "missing: $tool (apt-get install podman buildah runc catatonit)" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "not run: pods are run by root alone here" >&2; exit 77; }
tools=${PENTORA_TOOLS:-$HOME/.cache/pentora/tools}/deploy-venv
"$tools/bin/python" -c "import yaml" 2>/dev/null || { echo "missing: what reads YAML: run tests/deploy/kubernetes.sh first, which installs it" >&2; exit 1; }
: "${DIST:=${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist}"

dir=$(mktemp -d)
declare -A kubelets=()
export CONTAINERS_CONF=$PWD/tests/deploy/containers.conf
storage=(--storage-driver vfs --root "$dir/store" --runroot "$dir/run")
cleanup() {
  trap - EXIT
  for pid in "${kubelets[@]}"; do kill "$pid" 2>/dev/null || true; done
  timeout 60 podman "${storage[@]}" pod rm --all --force --time 0 >/dev/null 2>&1 || true
  timeout 60 podman "${storage[@]}" rmi --all --force >/dev/null 2>&1 || true
  for name in bridge pentora-0 pentora-1 pentora-2 worker; do ip netns del "k8s-$name" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap cleanup EXIT
until_so() { # until_so SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >"$dir/said" 2>&1; do
    if [ $SECONDS -ge $end ]; then
      echo "FAILED: $what: not in time: $(tail -n 3 "$dir/said")" >&2
      for pod in $(podman "${storage[@]}" ps --all --format '{{.Names}}' | grep -v infra); do
        echo "-- $pod" >&2
        podman "${storage[@]}" logs --tail 8 "$pod" >&2 2>&1 || true
        tail -n 3 "$dir/${pod%-pentora*}".asked >&2 2>/dev/null || true
      done
      exit 1
    fi
    sleep 0.5
  done
}

DIST=$DIST IMAGE=localhost/pentora ALSO= BUILDER=buildah STORAGE="${storage[*]}" deploy/image/build.sh >"$dir/build.log" 2>&1 ||
  { cat "$dir/build.log" >&2; exit 1; }

ip netns add k8s-bridge
ip -n k8s-bridge link add br0 type bridge
ip -n k8s-bridge link set br0 up
host() { # host NAME ADDRESS
  ip netns add "k8s-$1"
  ip -n k8s-bridge link add "p$3" type veth peer name eth0 netns "k8s-$1"
  ip -n k8s-bridge link set "p$3" master br0 up
  ip -n "k8s-$1" link set lo up
  ip -n "k8s-$1" link set eth0 up
  address "$1" "$2"
}
address() {
  ip -n "k8s-$1" addr flush dev eth0
  ip -n "k8s-$1" addr add "$2/16" dev eth0
}
names() { # names PREFIX: every name that a cluster's name servers would know
  echo "127.0.0.1 localhost"
  for number in 0 1 2; do echo "$1$((number + 1)) pentora-$number.pentora-members"; done
  echo "$1"1 pentora-coordinator
}
for number in 0 1 2; do host pentora-$number 10.88.3.$((number + 1)) $number; done
host worker 10.88.3.9 9
names 10.88.3. >"$dir/hosts"

kubectl kustomize deploy/kubernetes/overlays/bootstrap >"$dir/bootstrap.yaml"
kubectl kustomize deploy/kubernetes/base >"$dir/base.yaml"
# The pods of a rendering, as podman takes them: podman-N.yaml for each member, podman-worker.yaml.
pods() { # pods RENDERING FOLDER
  mkdir -p "$2"
  "$tools/bin/python" - "$1" "$2" "$dir" <<'PYTHON'
import copy, json, sys, yaml
rendered, folder, top = sys.argv[1:]
documents = [document for document in yaml.safe_load_all(open(rendered)) if document]
of = lambda kind: [document for document in documents if document["kind"] == kind]
configs = {config["metadata"]["name"]: config["data"] for config in of("ConfigMap")}

def pod(name, template, data):
    spec = copy.deepcopy(template["spec"])
    # What podman knows nothing of, and a machine without a scheduler has no use for.
    for key in ("affinity", "topologySpreadConstraints", "serviceAccountName", "enableServiceLinks", "automountServiceAccountToken"):
        spec.pop(key, None)
    volumes = []
    for volume in spec["volumes"]:
        if "configMap" in volume:
            path = f"{folder}/config"
        elif "secret" in volume:
            path = f"{top}/secrets/{volume['secret']['secretName']}"
        else:
            path = data
        volumes.append({"name": volume["name"], "hostPath": {"path": path, "type": "Directory"}})
    if not any(volume["name"] == "data" for volume in volumes):
        volumes.append({"name": "data", "hostPath": {"path": data, "type": "Directory"}})
    volumes.append({"name": "hosts", "hostPath": {"path": f"{top}/hosts", "type": "File"}})
    spec["volumes"] = volumes
    for container in spec["containers"]:
        container["volumeMounts"].append({"name": "hosts", "mountPath": "/etc/hosts", "readOnly": True})
        # On a host's own network there is nothing to map. Its probes are asked from outside, as a cluster does.
        ports = {port["name"]: port["containerPort"] for port in container.pop("ports")}
        probes = {probe: container.pop(probe) for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
        for probe in probes.values():
            probe["httpGet"]["port"] = ports[probe["httpGet"]["port"]]
        json.dump(probes, open(f"{folder}/{name}.probes", "w"))
        for variable in container.get("env", []):
            if variable.get("valueFrom", {}).get("fieldRef"):
                variable.pop("valueFrom")
                variable["value"] = name
            if variable.get("valueFrom", {}).get("secretKeyRef"):
                reference = variable.pop("valueFrom")["secretKeyRef"]
                try:
                    variable["value"] = open(f"{top}/secrets/{reference['name']}/{reference['key']}").read().strip()
                except FileNotFoundError:
                    variable["value"] = ""
        container["args"] = [word.replace("$(POD_NAME)", name) for word in container["args"]]
    spec["hostname"] = name
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": template["metadata"]["labels"]}, "spec": spec}

import os
config = next(data for name, data in configs.items() if name.startswith("pentora-members"))
os.makedirs(f"{folder}/config", exist_ok=True)
for name, text in config.items():
    open(f"{folder}/config/{name}", "w").write(text)
for number in range(of("StatefulSet")[0]["spec"]["replicas"]):
    name = f"pentora-{number}"
    json.dump(pod(name, of("StatefulSet")[0]["spec"]["template"], f"{top}/data/{name}"), open(f"{folder}/{name}.yaml", "w"))
json.dump(pod("worker", of("Deployment")[0]["spec"]["template"], f"{top}/data/worker"), open(f"{folder}/worker.yaml", "w"))
PYTHON
}
for name in pentora-member-token pentora-admin-token pentora-worker-token; do mkdir -p "$dir/secrets/$name"; done
for name in pentora-0 pentora-1 pentora-2; do install -d -o 65532 -g 65532 -m 0700 "$dir/data/$name"; done
# As an emptyDir with an fsGroup is.
install -d -o root -g 65532 -m 2777 "$dir/data/worker"
chmod 0755 "$dir"
pods "$dir/bootstrap.yaml" "$dir/first"
play() { # play FOLDER NAME: on its own host
  # Not `ip netns exec`, which would give it a /sys without control groups.
  nsenter --net="/run/netns/k8s-$2" timeout 120 podman "${storage[@]}" kube play --network host "$1/$2.yaml" >"$dir/play.log" 2>&1 ||
    { cat "$dir/play.log" >&2; exit 1; }
  nsenter --net="/run/netns/k8s-$2" tests/deploy/probes.py "$1/$2.probes" "$dir/$2.asked" &
  kubelets[$2]=$!
}
down() {
  # Of a pod that is told to end nothing is asked.
  kill "${kubelets[$1]}"
  wait "${kubelets[$1]}" 2>/dev/null || true
  unset "kubelets[$1]"
  timeout 60 podman "${storage[@]}" pod stop --time 30 "$1" >/dev/null 2>&1
  ended=$(podman "${storage[@]}" inspect --format '{{.State.ExitCode}}' "$1-pentora" 2>/dev/null || podman "${storage[@]}" inspect --format '{{.State.ExitCode}}' "$1-pentora-worker")
  [ "$ended" = 0 ] || { echo "FAILED: $1 ended with $ended, and not in order within 30 s" >&2; exit 1; }
  timeout 60 podman "${storage[@]}" pod rm --force "$1" >/dev/null 2>&1
}
answered() { grep -qE "^[0-9.]+ $2 $3" "$dir/$1.asked"; } # answered NAME PROBE WHAT
# From its own network as well: a container on its host's network has none that a command in it would enter.
in_pod() { nsenter --net="/run/netns/k8s-$1" timeout 100 podman "${storage[@]}" exec "$1-$2" pentora "${@:3}"; }
member() { in_pod pentora-0 pentora "$@"; }

now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f", to - from }'; }
began=$(now)
play "$dir/first" pentora-0
until_so 60 "pentora-0" member health --ready
echo "start to ready: $(since "$began") s, the runtime's part included"
member coordinator worker-token create --name members --uses 2 --ttl 1h >"$dir/secrets/pentora-member-token/token" 2>/dev/null
member coordinator worker-token create --name workers --role scanner --ephemeral --uses 10000 --ttl 31d >"$dir/secrets/pentora-worker-token/token" 2>/dev/null
# By the very words that people are given: what drains is told no other way whether it may.
read -ra makes_drain <<<"$(sed -nE 's/^kubectl exec pentora-0 -- pentora (token create --name drain .*) \|$/\1/p' docs/how-to/kubernetes.md)"
member "${makes_drain[@]}" >"$dir/secrets/pentora-admin-token/token" 2>/dev/null
chown -R 65532:65532 "$dir/secrets"
pods "$dir/base.yaml" "$dir/then"

echo "two members and the scanner wait for the first one, which is gone"
down pentora-0
for number in 1 2; do play "$dir/first" pentora-$number; done
play "$dir/then" worker
for name in pentora-1 pentora-2 worker; do
  until_so 60 "$name answers its startup probe" answered $name startupProbe ok
  until_so 30 "$name says why it is not ready" answered $name readinessProbe '503 .*not joined yet: '
done
began=$(now)
down pentora-2
down worker
echo "a member and a scanner that wait end within $(since "$began") s, one after the other, removal included"
play "$dir/first" pentora-2
play "$dir/then" worker
play "$dir/first" pentora-0
voters() { [ "$(member cluster status --json | grep -oE '"role": *"voter"' | wc -l)" = 3 ]; }
until_so 90 "three voters" voters

scanner() { member coordinator workers list | grep -qE 'wrk_[a-z0-9_-]*worker.* Idle'; }
until_so 60 "the scanner" scanner
for name in pentora-0 pentora-1 pentora-2 worker; do until_so 30 "$name is ready" answered $name readinessProbe ok; done
member scan 10.88.3.1 --ports 7400,8080 --no-discovery -o list | grep -q 8080

echo "a rolling restart under a scan: the last one first, the next when that one is ready"
for number in $(seq 16 31); do ip -n k8s-worker addr add "10.88.3.$number/16" dev eth0; done
job=$(member scan 10.88.3.16/28 --ports 1-150 --no-discovery --no-services --rate 30 --detach)
authority=$(member cluster status --json | sed -nE 's/.*"authority": *"([^"]+)".*/\1/p' | head -n1)
# Somebody outside who knows all members writes, one request after the other, and notes when each was answered.
outside() {
  nsenter --net=/run/netns/k8s-worker env -i HOME="$dir" PENTORA_API=https://10.88.3.1:8080,https://10.88.3.2:8080,https://10.88.3.3:8080 \
    PENTORA_CA_FINGERPRINT="$authority" PENTORA_TOKEN_FILE="$dir/secrets/pentora-admin-token/token" timeout 30 "$DIST/pentora" "$@"
}
outside coordinator worker-token create --name asks --ttl 1m >/dev/null 2>&1
write() {
  until [ -e "$dir/over" ]; do
    if outside coordinator worker-token create --name asks --ttl 1m >/dev/null 2>>"$dir/refusals"; then echo "$(now) taken"; else echo "$(now) refused"; fi
    sleep 0.1
  done >"$dir/asked"
}
write &
writer=$!
# The template's own words of preStop: podman does not say them.
read -ra pre_stop <<<"$("$tools/bin/python" -c '
import sys, yaml
document = next(it for it in yaml.safe_load_all(open(sys.argv[1])) if it and it["kind"] == "StatefulSet")
print(*document["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1:])' "$dir/base.yaml")"
began=$(now)
for number in 2 1 0; do
  in_pod pentora-$number pentora "${pre_stop[@]}" >/dev/null
  down pentora-$number
  play "$dir/then" pentora-$number
  ready() { in_pod pentora-$number pentora health --ready; }
  until_so 60 "pentora-$number after its restart" ready
done
rolled=$(since "$began")
until_so 90 "three voters after the rolling restart" voters
done_() { member job status "$job" --json | grep -qE '"status": *"completed"'; }
until_so 180 "the job that was on" done_
touch "$dir/over"
wait "$writer"
member job status "$job" --json | grep -qE '"targets_scanned": *16\b' || { echo "FAILED: targets were lost" >&2; exit 1; }
awk -v rolled="$rolled" '
  $2 == "taken" { if (last && $1 - last > longest) longest = $1 - last; last = $1; taken++ }
  $2 == "refused" { refused++ }
  END {
    printf "three restarted in %s s; %d writes taken, %d refused, %.1f s between two that were taken at most; no job lost\n", rolled, taken, refused, longest
    exit !(taken > 20 && longest < 5)
  }' "$dir/asked" || { echo "FAILED: requests were refused for longer than a failover" >&2; tail -n 5 "$dir/refusals" >&2; exit 1; }

echo "every member stops, as preStop and SIGTERM have it, and starts with another address"
job=$(member scan 10.88.3.9 --ports 1-400 --no-discovery --rate 20 --detach)
for number in 0 1 2; do
  # The last one has no majority left to tell, and ends all the same.
  in_pod pentora-$number pentora drain --deadline 1s --token-file /run/secrets/pentora-admin/token >/dev/null || [ $number -gt 0 ]
  down pentora-$number
done
for number in 0 1 2; do address pentora-$number 10.88.4.$((number + 1)); done
names 10.88.4. >"$dir/hosts"
for number in 0 1 2; do play "$dir/then" pentora-$number; done
until_so 90 "three voters again" voters
# It may be at work on the job.
returned() { member coordinator workers list | grep -qE 'wrk_[a-z0-9_-]*worker.* (Idle|Active)'; }
until_so 60 "the scanner again" returned
until_so 120 "the job that was on" done_
for name in pentora-0 pentora-1 pentora-2 worker; do
  ! grep -H restart "$dir/$name.asked" || { echo "FAILED: Kubernetes would have started $name again" >&2; exit 1; }
  answered $name livenessProbe ok || { echo "FAILED: $name was never asked whether it lives" >&2; exit 1; }
done
echo "three members and a scanner by kube play, renumbered at once, no job lost, and by their probes none started again"
