#!/bin/bash
# Makes the Debian package of what `make build` made: `make deb`.
#
# usage: deploy/package.sh FOLDER, with DIST naming the folder of the stripped program. Prints the package's path.
#
# With FAST set it is compressed in a hurry, for tests. The same program gives the same package, byte for byte, where SOURCE_DATE_EPOCH is set or this is a clean commit.
# A package for arm64 is made the same way on an arm64 machine: what is in it is built there and linked with its libraries.
set -euo pipefail
out=${1:?usage: deploy/package.sh FOLDER}
out=$(mkdir -p "$out" && cd "$out" && pwd)
source "$(dirname "$0")/shipping.sh"
: "${DIST:?}" "${CARGO_TARGET_DIR:=$HOME/.cache/pentora/target}"
export CARGO_TARGET_DIR
cargo_tool deb

root=$CARGO_TARGET_DIR/release/deb
rm -rf "$root"
PREFIX=/usr UNITDIR=/usr/lib/systemd/system DESTDIR=$root DIST=$DIST deploy/install.sh install >&2
# What a package does otherwise than `make install`: dpkg knows what is installed, the configuration is in /etc, and Debian has
# its own places and forms.
rm "$root/usr/share/doc/pentora/installed"
mkdir -p "$root/etc/pentora"
mv "$root/usr/share/doc/pentora/pentora.yaml" "$root/etc/pentora/pentora.yaml"
mkdir -p "$root/usr/share/zsh/vendor-completions"
mv "$root"/usr/share/zsh/site-functions/* "$root/usr/share/zsh/vendor-completions/"
find "$root/usr/share/man" -name '*.1' -type f -exec gzip -9n {} +
find "$root/usr/share/man" -type l | while read -r link; do
  ln -s "$(readlink "$link").gz" "$link.gz"
  rm "$link"
done
install -m 0644 deploy/debian/copyright "$root/usr/share/doc/pentora/copyright"
gzip -9nc CHANGELOG.md >"$root/usr/share/doc/pentora/changelog.gz"
printf 'pentora (%s-1) unstable; urgency=medium\n\n  * What is new is in changelog.gz.\n\n -- %s  %s\n' "$version" "$maintainer" \
  "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$root/usr/share/doc/pentora/changelog.Debian.gz"

cargo deb --quiet --no-build --no-strip ${FAST:+--fast} --package pentora-node --output "$out/" >/dev/null
ls "$out"/pentora_*.deb | tail -n1
