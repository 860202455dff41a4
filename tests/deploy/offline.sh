#!/bin/bash
# What of `make check-deploy` takes seconds and no network, for `.ci/run`: manifests rendered and held against the schemas of three
# versions of Kubernetes, rules of alerts and their tests, the file of compose as podman-compose reads it, and units as systemd
# reads them.
#
# usage: tests/deploy/offline.sh
#
# A tool that is not installed is named, and what it would look at is left out. Where PENTORA_DEPLOY_TOOLS is `required`, that is
# a failure.
set -uo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin
tools=${PENTORA_TOOLS:-$HOME/.cache/pentora/tools}/deploy-venv

failed=() left_out=()
part() { # part WHAT TOOL COMMAND...
  local what=$1 tool=$2 said
  shift 2
  if ! command -v "$tool" >/dev/null; then
    left_out+=("$what (${tool##*/})")
  elif said=$("$@" 2>&1); then
    echo "$what: as it should be"
  else
    echo "$what: $said" >&2
    failed+=("$what")
  fi
}

rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
render() {
  local folder
  for folder in deploy/kubernetes/base deploy/kubernetes/overlays/*; do
    kubectl kustomize "$folder" >"$rendered/$(basename "$folder").yaml" || return 1
    grep -q '^kind: StatefulSet' "$rendered/$(basename "$folder").yaml" || { echo "$folder has no members"; return 1; }
  done
}
schemas() {
  local version file status=0
  for version in $(sed -nE 's/^versions=\((.*)\)/\1/p' tests/deploy/kubernetes.sh); do
    for file in "$rendered"/*.yaml; do "$tools/bin/kubernetes-validate" --strict --quiet --no-warn -k "$version" "$file" || status=1; done
  done
  return $status
}
alerts() { promtool check rules deploy/observability/alerts.yaml && promtool test rules deploy/observability/alerts_test.yaml; }
# What it would have podman do, with something in podman's place that does nothing: a container for each service.
compose() {
  local plan=$rendered/compose.plan names
  printf '#!/bin/sh\n[ "$1" != --version ] || echo podman version 4.3.1\n' >"$rendered/podman"
  chmod +x "$rendered/podman"
  podman-compose --podman-path "$rendered/podman" --dry-run --file deploy/compose.yaml up --detach >"$plan" 2>&1 || { cat "$plan"; return 1; }
  names=$(sed -nE 's/.* run --name=deploy_([^ ]+)_1 .*/\1/p' "$plan" | sort | paste -sd' ')
  [ "$names" = "n1 n2 n3 target token-for-members token-for-workers w1 w2" ] || { echo "containers: $names"; return 1; }
}
units() {
  local name copy
  for name in pentora.service pentora-worker@.service; do
    copy=$rendered/${name/@/@one}
    # Neither the program nor the manual is installed where the unit expects them.
    sed -e 's|/usr/local/bin/pentora-node|/bin/true|; s|man:pentora-worker-start(1) ||' "deploy/$name" >"$copy"
    systemd-analyze verify "$copy" || return 1
  done
}

part "manifests, rendered" kubectl render
[ -e "$rendered/base.yaml" ] && part "manifests, by their schemas" "$tools/bin/kubernetes-validate" schemas
part "alerts and their tests" promtool alerts
part "compose" podman-compose compose
part "units" systemd-analyze units

if [ ${#left_out[@]} -gt 0 ]; then
  echo "left out, for want of a tool: $(printf '%s, ' "${left_out[@]}" | sed 's/, $//')" >&2
  [ "${PENTORA_DEPLOY_TOOLS:-}" != required ] || failed+=("a tool is missing")
fi
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" >&2; exit 1; }
