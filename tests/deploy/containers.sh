#!/bin/bash
# podman for the scripts beside this one, which source it. Images, containers, networks and name servers are in a folder of the test's
# own, and in namespaces of its own (tests/with-namespaces).
#
#   containers_missing      what of it is not installed, or that it is not root that asks; nothing where all is there
#   containers_begin DIR    has `podman`, and `docker` as another name for it, keep everything in DIR
#   containers_image NAME   builds the image of the program in $DIST there, also under this name with its tag; prints what was built
#   containers_end          takes away what was made

containers_missing() {
  local tool
  for tool in podman podman-compose buildah runc iptables /usr/lib/podman/netavark /usr/lib/podman/aardvark-dns; do
    command -v "$tool" >/dev/null || [ -x "/usr/sbin/$tool" ] || {
      echo "missing: $tool (apt-get install podman podman-compose buildah runc netavark aardvark-dns iptables)"
      return
    }
  done
  [ "$(id -u)" = 0 ] || echo "containers are run by root alone here"
}

containers_begin() {
  local dir=$1 name
  mkdir -p "$dir/bin"
  { cat tests/deploy/containers.conf; printf '[network]\nnetwork_backend = "netavark"\n'; } >"$dir/containers.conf"
  export CONTAINERS_CONF=$dir/containers.conf TMPDIR=$dir
  STORAGE="--storage-driver vfs --root $dir/store --runroot $dir/run"
  for name in podman docker; do
    printf '#!/bin/sh\nexec %s %s --network-config-dir %s "$@"\n' "$(command -v podman)" "$STORAGE" "$dir/networks" >"$dir/bin/$name.made"
    chmod +x "$dir/bin/$name.made"
  done
  # All at once: the one is not to call the other.
  for name in podman docker; do mv "$dir/bin/$name.made" "$dir/bin/$name"; done
  export PATH=$dir/bin:$PATH
}

containers_image() {
  local log=$TMPDIR/build.log
  DIST=$DIST IMAGE=localhost/pentora ALSO=$1 BUILDER=buildah STORAGE=$STORAGE deploy/image/build.sh >"$log" 2>&1 || { cat "$log" >&2; return 1; }
  tail -n 1 "$log"
}

containers_end() {
  timeout 60 podman rm --all --force --time 0 >/dev/null 2>&1 || true
  timeout 60 podman pod rm --all --force >/dev/null 2>&1 || true
  timeout 60 podman rmi --all --force >/dev/null 2>&1 || true
}
