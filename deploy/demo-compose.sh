#!/bin/bash
# deploy/compose.yaml from nothing to the first result, measured, and away again: `make demo-compose`. The image is there already
# (`make image`). COMPOSE names what to do it with; otherwise it is whichever works here.
set -euo pipefail
cd "$(dirname "$0")"

read -ra compose <<<"${COMPOSE:-}"
for tool in "docker compose" podman-compose docker-compose; do
  # Docker's client alone is no use without its daemon.
  [ ${#compose[@]} -gt 0 ] || ! $tool version >/dev/null 2>&1 || { [[ $tool == docker* ]] && ! docker info >/dev/null 2>&1; } ||
    read -ra compose <<<"$tool"
done
[ ${#compose[@]} -gt 0 ] || { echo "none of docker compose, podman-compose and docker-compose is here" >&2; exit 1; }
compose+=(--file compose.yaml)
cleanup() { "${compose[@]}" down --volumes >/dev/null 2>&1 || true; }
trap cleanup EXIT
pentora() { "${compose[@]}" exec -T n1 pentora "$@"; }
now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f", to - from }'; }

began=$(now)
echo "\$ ${compose[*]} up --detach"
"${compose[@]}" up --detach >/dev/null
until [ "$(pentora cluster status --json 2>/dev/null | grep -oE '"role": *"(voter|scanner)"' | wc -l)" -ge 5 ]; do
  [ "${SECONDS}" -lt 180 ] || { echo "no mesh of three voters and two scanners in 180 s" >&2; pentora cluster status >&2; exit 1; }
  sleep 0.5
done
echo "three voters and two scanners after $(since "$began") s"
pentora cluster status

target=$("${compose[@]}" exec -T target pentora cluster status --json 2>/dev/null | grep -oE '[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+:7400' | head -n 1)
scan=(scan "${target%:*}" --ports 7400,8080 --require-worker-tag targets)
echo "\$ pentora ${scan[*]}"
said=$(pentora "${scan[@]}" 2>&1) || { echo "$said" >&2; exit 1; }
echo "$said"
grep -qE '8080/tcp +open' <<<"$said" || { echo "the target's API was not found" >&2; exit 1; }
echo "the first result after $(since "$began") s"
