#!/bin/bash
# Makes what a release consists of, from what `make build` made: `make release`.
#
# usage: deploy/release.sh FOLDER, with DIST naming the folder of the stripped program
#
#   pentora_VERSION_ARCH.deb                 for Debian and Ubuntu
#   pentora-VERSION-ARCH-linux-gnu.tar.gz    the same files below usr/local, for `tar -C / -xzf`
#   pentora-VERSION-ARCH-linux-gnu.debug.gz  the program's symbols
#   pentora-VERSION.cdx.json                 what it is made of: every package with version, licence and digest (CycloneDX 1.5)
#   SHA256SUMS
set -euo pipefail
umask 022
export LC_ALL=C
cd "$(dirname "$0")/.."

out=${1:?usage: deploy/release.sh FOLDER}
mkdir -p "$out"
out=$(cd "$out" && pwd)
: "${DIST:?}"
export DIST SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
name=pentora-$version-$(uname -m)-linux-gnu
rm -f "$out"/pentora[-_]* "$out/SHA256SUMS"

deploy/package.sh "$out" >/dev/null

root=$(mktemp -d)
trap 'rm -rf "$root"; find . -name "pentora-sbom.json" -delete' EXIT
DESTDIR=$root deploy/install.sh install >/dev/null
install -m 0644 LICENSE-* "$root/usr/local/share/doc/pentora/"
# The list is for `make uninstall`, which has these as well then.
find "$root" ! -type d -path '*/doc/pentora/LICENSE-*' -printf '/%P\n' | sort >>"$root/usr/local/share/doc/pentora/installed"
(cd "$root" && find usr -print0 | sort -z) |
  tar --create --format=posix --pax-option=delete=atime,delete=ctime --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=0 \
    --group=0 --directory "$root" --no-recursion --null --files-from=- | gzip -9n >"$out/$name.tar.gz"
gzip -9nc "$DIST/pentora-node.debug" >"$out/$name.debug.gz"

if ! cargo cyclonedx --version >/dev/null 2>&1; then
  CARGO_TARGET_DIR=$HOME/.cache/pentora/tools cargo install --locked --quiet cargo-cyclonedx
fi
# One file for the program: what it is linked with, not what its tests and its build need.
cargo cyclonedx --quiet --manifest-path node/Cargo.toml --format json --spec-version 1.5 --no-build-deps --override-filename pentora-sbom
mv node/pentora-sbom.json "$out/pentora-$version.cdx.json"

(cd "$out" && sha256sum pentora[-_]* >SHA256SUMS)
ls -l "$out"
