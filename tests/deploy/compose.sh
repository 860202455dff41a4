#!/bin/bash
# Runs deploy/compose.yaml as `make demo-compose` does, by podman-compose: from nothing to a mesh of three members and two scanners, and
# to the first result in a network that the scanners alone reach. Prints what it measured. Part of `make check-deploy`; wants root.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${PENTORA_INSIDE:-}" ]; then PENTORA_INSIDE=1 exec tests/with-namespaces "$PWD/tests/deploy/${0##*/}" "$@"; fi
source tests/deploy/containers.sh
missing=$(containers_missing)
case $missing in
  "") ;;
  missing*) echo "$missing" >&2; exit 1 ;;
  *) echo "not run: $missing" >&2; exit 77 ;;
esac
: "${DIST:=${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist}"

dir=$(mktemp -d)
cleanup() {
  trap - EXIT
  containers_end
  rm -rf "$dir"
}
trap cleanup EXIT
containers_begin "$dir"
containers_image localhost/pentora:demo
echo "$(podman image inspect localhost/pentora:demo --format '{{.Size}}') bytes of image"
PENTORA_IMAGE=localhost/pentora:demo COMPOSE=podman-compose deploy/demo-compose.sh
