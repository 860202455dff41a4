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
out=${1:?usage: deploy/release.sh FOLDER}
out=$(mkdir -p "$out" && cd "$out" && pwd)
source "$(dirname "$0")/shipping.sh"
: "${DIST:?}"
export DIST
name=pentora-$version-$(uname -m)-linux-gnu
rm -f "$out"/pentora[-_]* "$out/SHA256SUMS"

deploy/package.sh "$out" >/dev/null

root=$(mktemp -d)
trap 'rm -rf "$root"; find . -name "pentora-sbom.json" -delete' EXIT
DESTDIR=$root deploy/install.sh install >/dev/null
install -m 0644 LICENSE-* "$root/usr/local/share/doc/pentora/"
# The list is for `make uninstall`, which has these as well then.
find "$root" ! -type d -path '*/doc/pentora/LICENSE-*' -printf '/%P\n' | sort >>"$root/usr/local/share/doc/pentora/installed"
(cd "$root" && find usr -print0 | sort -z) | archive 0 "$root" | gzip -9n >"$out/$name.tar.gz"
gzip -9nc "$DIST/pentora-node.debug" >"$out/$name.debug.gz"

cargo_tool cyclonedx
# One file for the program: what it is linked with, not what its tests and its build need.
cargo cyclonedx --quiet --manifest-path node/Cargo.toml --format json --spec-version 1.5 --no-build-deps --override-filename pentora-sbom
mv node/pentora-sbom.json "$out/pentora-$version.cdx.json"

(cd "$out" && sha256sum pentora[-_]* >SHA256SUMS)
ls -l "$out"
