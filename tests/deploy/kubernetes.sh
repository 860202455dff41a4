#!/bin/bash
# Asks tools that know Kubernetes about deploy/kubernetes: each overlay is rendered by kubectl, held against the schemas of three
# versions, and looked at by checkov. Part of `make check-deploy`; nothing is sent anywhere.
#
# What needs no tool is in tests/tests/manifests.rs.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The oldest that has all fields in use, one that clusters run, the newest that kubernetes-validate knows.
versions=(1.31 1.34 1.37)
# What of an overlay checkov would find beside what deploy/kubernetes/checkov.yaml explains.
declare -A explained=(
  # The overlay is for raw packets: NET_RAW is what it adds, and a file capability counts only where exec may gain privileges.
  [raw]=CKV_K8S_20,CKV_K8S_25
  [together]=CKV_K8S_20,CKV_K8S_25
)

command -v kubectl >/dev/null || { echo "missing: kubectl (apt-get install kubernetes-client)" >&2; exit 1; }
tools=${PENTORA_TOOLS:-$HOME/.cache/pentora/tools}/deploy-venv
if ! [ -x "$tools/bin/checkov" ] || ! [ -x "$tools/bin/kubernetes-validate" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --requirement tests/deploy/requirements.txt
fi

rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
failed=0
# All components at once, as an overlay of somebody's own has them.
mkdir "$rendered/together"
from=$(realpath --relative-to="$rendered/together" deploy/kubernetes)
printf 'resources: [%s/base]\ncomponents:\n' "$from" >"$rendered/together/kustomization.yaml"
for component in deploy/kubernetes/components/*; do echo "- $from/components/$(basename "$component")"; done >>"$rendered/together/kustomization.yaml"
for folder in deploy/kubernetes/base deploy/kubernetes/overlays/* "$rendered/together"; do
  name=$(basename "$folder") file=$rendered/$(basename "$folder").yaml
  kubectl kustomize "$folder" >"$file"
  # A resource of KEDA is none of Kubernetes' own: what it scales, and by what, is held by tests/tests/manifests.rs.
  for version in "${versions[@]}"; do
    "$tools/bin/kubernetes-validate" --strict --quiet --no-warn -k "$version" "$file" || failed=1
  done
  more=()
  [ -z "${explained[$name]:-}" ] || more=(--skip-check "$(sed -nE 's/^- (CKV.*)/\1/p' deploy/kubernetes/checkov.yaml | paste -sd,),${explained[$name]}")
  "$tools/bin/checkov" --config-file deploy/kubernetes/checkov.yaml "${more[@]}" --file "$file" || failed=1
  echo "$name: $(grep -c '^kind:' "$file") resources, versions ${versions[*]}, checkov"
done
exit $failed
