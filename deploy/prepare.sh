#!/bin/bash
# Makes a Debian or Ubuntu machine able to build and test Pentora. Installs only what is missing, says what and why
# before it does, and prints nothing when nothing is.
#
# usage: deploy/prepare.sh
#
# Rust is not installed here: which toolchain a machine uses is its owner's choice.
set -euo pipefail

missing=()
need() { # need PACKAGE WHY COMMAND...: the package is missing when the command fails
  local package=$1 why=$2
  shift 2
  if ! "$@" >/dev/null 2>&1; then
    echo "missing: $package ($why)" >&2
    missing+=("$package")
  fi
}
has() { command -v "$1"; }
has_authorities() { [ -n "${SSL_CERT_FILE:-}" ] || [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ]; }
has_libclang() { compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' || compgen -G '/usr/lib/*/libclang*.so*' || compgen -G '/usr/lib64/libclang*.so*' || [ -n "${LIBCLANG_PATH:-}" ]; }

PATH=$PATH:/usr/sbin:/sbin # where Debian keeps ip and nft, and not in every user's PATH
need clang "generates the RocksDB bindings" has clang
need libclang-dev "the library the RocksDB bindings are generated with" has_libclang
need g++ "compiles RocksDB" has g++
need binutils "takes the symbols out of the program that is shipped (objcopy)" has objcopy
need ca-certificates "whom cargo trusts when it fetches packages" has_authorities
need make "runs the Makefile" has make
need pkg-config "finds system libraries" has pkg-config
need iproute2 "makes the network namespaces that the tests scan in" has ip
need nftables "drops packets in those namespaces, to test cuts and firewalls" has nft
need util-linux "runs the tests in namespaces of their own (unshare, setpriv)" has setpriv
need ethtool "turns off offloads in those namespaces where a cable has a length" has ethtool

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "this machine has no apt-get: install the packages above (or what they are called here), then run this again" >&2
    exit 1
  fi
  root=()
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "not root, and no sudo: run as root: apt-get install ${missing[*]}" >&2
      exit 1
    fi
    root=(sudo)
  fi
  echo "installing with apt-get: ${missing[*]}" >&2
  "${root[@]}" apt-get -qq update
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
  echo "missing: cargo, Rust 1.88 or later. Install it from https://rustup.rs, then run this again" >&2
  exit 1
fi
