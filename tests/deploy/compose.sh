#!/bin/bash
# Runs deploy/compose.yaml as `make demo-compose` does, by podman-compose: from nothing to a mesh of three members and two scanners, and
# to the first result in a network that the scanners alone reach. Prints what it measured. Part of `make check-deploy`; wants root.
#
# Images, containers, networks and name servers are in folders and namespaces of the test's own.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${PENTORA_INSIDE:-}" ]; then PENTORA_INSIDE=1 exec tests/with-namespaces "$PWD/tests/deploy/${0##*/}" "$@"; fi
for tool in podman podman-compose buildah runc iptables /usr/lib/podman/netavark /usr/lib/podman/aardvark-dns; do
  command -v $tool >/dev/null || [ -x /usr/sbin/$tool ] ||
    { echo "missing: $tool (apt-get install podman podman-compose buildah runc netavark aardvark-dns iptables)" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "not run: containers are run by root alone here" >&2; exit 77; }
: "${DIST:=${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist}"

dir=$(mktemp -d)
mkdir "$dir/bin"
{ cat tests/deploy/containers.conf; printf '[network]\nnetwork_backend = "netavark"\n'; } >"$dir/containers.conf"
export CONTAINERS_CONF=$dir/containers.conf TMPDIR=$dir
storage="--storage-driver vfs --root $dir/store --runroot $dir/run"
# What compose calls podman is one that keeps everything here.
printf '#!/bin/sh\nexec %s %s --network-config-dir %s "$@"\n' "$(command -v podman)" "$storage" "$dir/networks" >"$dir/bin/podman"
chmod +x "$dir/bin/podman"
export PATH=$dir/bin:$PATH
cleanup() {
  trap - EXIT
  timeout 60 podman rm --all --force --time 0 >/dev/null 2>&1 || true
  timeout 60 podman pod rm --all --force >/dev/null 2>&1 || true
  timeout 60 podman rmi --all --force >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap cleanup EXIT

DIST=$DIST IMAGE=localhost/pentora ALSO=localhost/pentora:demo BUILDER=buildah STORAGE=$storage deploy/image/build.sh >"$dir/build.log" 2>&1 ||
  { cat "$dir/build.log" >&2; exit 1; }
tail -n 1 "$dir/build.log"
echo "$(podman image inspect localhost/pentora:demo --format '{{.Size}}') bytes of image"
PENTORA_IMAGE=localhost/pentora:demo COMPOSE=podman-compose deploy/demo-compose.sh
