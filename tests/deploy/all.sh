#!/bin/bash
# Everything about deployment that wants tools of its own: `make check-deploy`. Says first what is not installed, and at the end what failed and
# what was not run. What is missing fails; what wants root is left out where it is not root that asks.
set -uo pipefail
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin

missing=()
need() { # need PACKAGE PROGRAM...
  local package=$1 program
  shift
  for program in "$@"; do
    command -v "$program" >/dev/null || { missing+=("$package"); return; }
  done
}
need kubernetes-client kubectl
need prometheus prometheus promtool
need systemd systemd-analyze
for package in podman buildah runc catatonit podman-compose; do need $package $package; done
need netavark /usr/lib/podman/netavark
need aardvark-dns /usr/lib/podman/aardvark-dns
need iptables iptables
need debootstrap debootstrap
need libcap2-bin setcap
need dpkg-dev dpkg-shlibdeps
need python3 python3
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
[ ${#missing[@]} -eq 0 ] || echo "missing, without which some of this cannot be: apt-get install --no-install-recommends ${missing[*]}" >&2

failed=() left_out=()
for part in kubernetes offline metrics pods compose package release docs book; do
  echo "== $part"
  status=0
  ./$part.sh || status=$?
  case $status in
    0) ;;
    77) left_out+=("$part") ;;
    *) failed+=("$part") ;;
  esac
done
[ ${#left_out[@]} -eq 0 ] || echo "not run: ${left_out[*]}" >&2
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
