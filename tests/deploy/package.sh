#!/bin/bash
# Installs, starts, upgrades, removes and purges the Debian package in a root of its own, made by debootstrap; makes it twice and
# compares. Part of `make check-deploy`; wants root.
#
# There is no systemd in that root: the units are held by systemd-analyze in tests/tests/deploy.rs, and here the program is started
# with the command, the user and the environment that they name.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "not run: a root of its own is made by root alone" >&2; exit 77; }
command -v debootstrap >/dev/null || { echo "missing: debootstrap (apt-get install debootstrap)" >&2; exit 1; }
: "${DIST:=${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist}"
export DIST

work=$(mktemp -d) pid= network=
cleanup() {
  trap - EXIT
  for process in $pid $network; do kill -KILL "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  umount "$work/root/proc" "$work/root/dev" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
say() { echo "package: $*"; }
fail() {
  say "FAILED: $*" >&2
  exit 1
}

say "made twice, the same bytes"
export FAST=1
first=$(deploy/package.sh "$work/first") second=$(deploy/package.sh "$work/second")
cmp "$first" "$second"
# The next release of the same, for the upgrade.
next=$work/next.deb
dpkg-deb --raw-extract "$first" "$work/next"
sed -i -E 's/^(Version: .*)/\1+next/' "$work/next/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -z1 --build "$work/next" "$next" >/dev/null
rm -r "$work/next"

root=$work/root
base=${PENTORA_DEBIAN_ROOT:-}
if [ -n "$base" ]; then cp -a "$base" "$root"; else debootstrap --variant=minbase --include=adduser,debconf bookworm "$root" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; exit 1; }; fi
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
cp "$first" "$root/pentora.deb"
cp "$next" "$root/next.deb"
# A network of its own, so that nobody else's port is in the way.
unshare --net sleep infinity &
network=$!
in_network() { nsenter --net="/proc/$network/ns/net" "$@"; }
until in_network ip link set lo up 2>/dev/null && in_network ip address show lo | grep -q 127.0.0.1; do sleep 0.1; done
inside() { in_network chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive HOME=/root LC_ALL=C.UTF-8 "$@"; }
unit() { sed -nE "s/^$1=//p" "$root/usr/lib/systemd/system/pentora.service"; }

say "installed"
inside dpkg --install /pentora.deb >/dev/null
inside pentora --version
[ "$(inside stat -c %U:%G:%a /etc/pentora/pentora.yaml)" = root:pentora:640 ] || fail "the configuration's owner or mode"
inside getent passwd pentora | grep -q ':/var/lib/pentora:/usr/sbin/nologin' || fail "the user"
inside pentora config check /etc/pentora/pentora.yaml
[ "$(inside readlink /usr/bin/pentora /usr/share/man/man1/pentora-node.1.gz | paste -sd" ")" = "pentora-node pentora.1.gz" ] || fail "second names are no links"
for file in usr/share/man/man1/pentora.1.gz usr/share/man/man1/pentora-node.1.gz usr/share/bash-completion/completions/pentora \
  usr/share/doc/pentora/copyright usr/share/doc/pentora/changelog.gz usr/lib/systemd/system/pentora-worker@.service; do
  [ -e "$root/$file" ] || fail "no /$file"
done
[ ! -e "$root/var/lib/pentora/node.id" ] || fail "something was started"

say "a scanner's files, with the commands of docs/how-to/systemd.md"
blocks() { awk -v kind="$1" '$0 == "```" kind { inside = 1; next } /^```$/ { inside = 0 } inside' docs/how-to/systemd.md; }
{ echo 'cd /tmp; TOKEN=pnj_example'; blocks sh; blocks console | grep -v '^systemctl '; } >"$root/tmp/page.sh"
inside bash -euo pipefail /tmp/page.sh
files=(/etc/pentora/aws-us-east-1.yaml /etc/pentora/aws-us-east-1.env /etc/pentora/plant.yaml /var/pentora)
[ "$(inside stat -c %U:%G:%a "${files[@]}" | paste -sd' ')" = "root:pentora:640 root:root:600 root:pentora:640 pentora:pentora:700" ] || fail "the owners or modes of ${files[*]}"
inside rm -r "${files[@]}" /etc/systemd/system/pentora.service.d
[ "$(inside stat -c %U:%G:%a /etc/pentora)" = root:pentora:750 ] || fail "the owner or mode of the configuration's folder"
grep -qx ConfigurationDirectoryMode=0750 "$root/usr/lib/systemd/system/pentora.service" || fail "systemd would warn of that mode"

say "started as the unit says"
# What StateDirectory= does.
inside install -d -o pentora -g pentora -m 0700 /var/lib/pentora
printf 'node: {init: true, name: packaged}\nmesh: {listen: "127.0.0.1:0"}\nserver: {api: {listen: "127.0.0.1:18099"}}\n' >"$root/etc/pentora/pentora.yaml"
start() {
  read -ra command < <(unit ExecStart)
  [ -x "$root${command[0]}" ] || fail "the unit starts ${command[0]}, which is not there"
  nsenter --net="/proc/$network/ns/net" chroot --userspec="$(unit User):$(unit Group)" "$root" env -i PATH=/usr/bin PENTORA_DATA_DIR=/var/lib/pentora "${command[@]}" >>"$work/node.log" 2>&1 &
  pid=$!
  for _ in $(seq 100); do ! inside pentora cluster status >/dev/null 2>&1 || return 0; sleep 0.1; done
  cat "$work/node.log" >&2
  fail "not ready"
}
stop() {
  kill -TERM "$pid"
  wait "$pid" || fail "it ended with $?"
  pid=
}
start
inside pentora scan 127.0.0.1 --ports 18099 --no-discovery -o list | grep -q '127.0.0.1:18099\|127.0.0.1 18099\|18099' || fail "the scan found nothing"
inside pentora coordinator workers list | grep -q wrk_packaged
# As docs/how-to/upgrade.md has it: it finishes what it has, and is Active again behind it.
inside pentora-node drain
stop

say "upgraded: configuration and data stay"
before=$(inside sha256sum /etc/pentora/pentora.yaml /var/lib/pentora/mesh.key)
inside dpkg --install /next.deb >"$work/upgrade.log" 2>&1 || { cat "$work/upgrade.log"; fail "the upgrade"; }
inside dpkg-query -W -f '${Version}\n' pentora | grep -q '+next$'
[ "$(inside sha256sum /etc/pentora/pentora.yaml /var/lib/pentora/mesh.key)" = "$before" ] || fail "something was changed"
start
inside pentora job list | grep -q Completed || fail "the job is gone"
inside pentora cluster status | grep -q Active || fail "it is not Active again"
stop

# What `systemctl enable` does.
wants=$root/etc/systemd/system/multi-user.target.wants
mkdir -p "$wants"
ln -s /usr/lib/systemd/system/pentora.service "$wants/pentora.service"
ln -s /usr/lib/systemd/system/pentora-worker@.service "$wants/pentora-worker@plant.service"
ln -s /usr/lib/systemd/system/another.service "$wants/another.service"

say "removed: configuration and data stay"
inside dpkg --remove pentora >/dev/null
[ ! -e "$root/usr/bin/pentora-node" ] || fail "the program is left"
[ -e "$root/etc/pentora/pentora.yaml" ] && [ -e "$root/var/lib/pentora/mesh.key" ] || fail "something else went too"

say "purged: data stays unless somebody says otherwise"
inside dpkg --purge pentora 2>"$work/purge.log" >/dev/null || { cat "$work/purge.log"; fail "the purge"; }
[ ! -e "$root/etc/pentora/pentora.yaml" ] || fail "the configuration is left"
left=$(ls "$wants")
! grep -q '^pentora' <<<"$left" && grep -q '^another.service$' <<<"$left" || fail "of what was enabled is left: $left"
[ -e "$root/var/lib/pentora/mesh.key" ] || fail "the data went unasked"
inside dpkg --install /pentora.deb >/dev/null
echo 'pentora pentora/remove-data boolean true' | inside debconf-set-selections
inside dpkg --purge pentora >/dev/null 2>&1
[ ! -e "$root/var/lib/pentora" ] || fail "the data is left though it was to go"
! inside getent passwd pentora >/dev/null || fail "the user is left"

if command -v lintian >/dev/null; then
  say "lintian"
  # Paths of the package's own: a program with its symbols beside it in the release, and no init script beside the units.
  lintian --no-cfg --fail-on error --suppress-tags embedded-library,custom-library-search-path "$first"
fi
say "all of it holds: $(stat -c %s "$first") bytes"
