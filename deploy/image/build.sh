#!/bin/bash
# Builds the image of what `make build` made: `make image`. Works without a network.
#
# usage: deploy/image/build.sh, with these in the environment:
#   DIST    the folder with the stripped program: deploy/strip.sh makes it
#   IMAGE   the image's name, pentora unless set; its tag is the release's version
#   ALSO    other names for it, with tags
#   BUILDER what builds it: buildah, podman or docker, whichever is there unless set
#
# The same program gives the same image, byte for byte and by its digest, where SOURCE_DATE_EPOCH is set or this is a clean commit,
# buildah or podman builds it, and that is of the same version: files are sorted, owned by number and dated by that.
set -euo pipefail
program=$(cd "${DIST:?}" 2>/dev/null && pwd || echo "$DIST")/pentora-node
source "$(dirname "$0")/../shipping.sh"
here=deploy/image
fail() {
  echo "image: $*" >&2
  exit 1
}

[ -x "$program" ] || fail "no program in $DIST: run \`make build\` first, or name its folder with DIST="
builder=${BUILDER:-}
for tool in buildah podman docker; do
  [ -n "$builder" ] || ! command -v "$tool" >/dev/null || builder=$tool
done
[ -n "$builder" ] || fail "none of buildah, podman and docker is here: apt-get install buildah"
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
image=${IMAGE:-pentora}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
root=$context/root
mkdir -p "$root/usr/bin" "$root/etc/pentora" "$root/etc/ssl/certs" "$root/usr/share/doc/pentora" "$root/tmp"

install -m 0755 "$program" "$root/usr/bin/pentora-node"
ln -s pentora-node "$root/usr/bin/pentora"
# The loader and the libraries that it will look for, where it will look for them; each with its licence, packed.
{ ldd "$program" || true; } | grep -oE '/[^ ]+' | sort -u | while read -r library; do
  target=$root$library
  mkdir -p "${target%/*}"
  install -m 0755 "$(readlink -f "$library")" "$target"
  package=$(dpkg-query -S "$(readlink -f "$library")" 2>/dev/null | head -n1 | cut -d: -f1 || true)
  copyright=/usr/share/doc/$package/copyright
  if [ -n "$package" ] && [ -e "$copyright" ]; then gzip -9nc "$copyright" >"$root/usr/share/doc/pentora/$package.copyright.gz"; fi
done
install -m 0644 LICENSE-* "$root/usr/share/doc/pentora/"

certificates=/etc/ssl/certs/ca-certificates.crt
[ -e "$certificates" ] || fail "no $certificates: apt-get install ca-certificates"
install -m 0644 "$certificates" "$root$certificates"
install -m 0644 "$here/pentora.yaml" "$root/etc/pentora/pentora.yaml"
echo 'pentora:x:65532:65532:Pentora:/var/lib/pentora:/sbin/nologin' >"$root/etc/passwd"
echo 'pentora:x:65532:' >"$root/etc/group"
# Names come from files, then from name servers; the C library has both built in.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"

# Permits raw packets and does not demand them: where the runtime takes them away, the program starts all the same.
attributes=()
if setcap cap_net_raw+p "$root/usr/bin/pentora-node" 2>/dev/null; then
  attributes=(--xattrs "--xattrs-include=security.capability")
else
  echo "image: the program's file may not be given CAP_NET_RAW here (not root, or no setcap: apt-get install libcap2-bin):" \
    "raw packets then need a runtime that grants them to users other than root, as podman does" >&2
fi
(cd "$root" && find . -mindepth 1 -print0 | sort -z) | archive 0 "$root" "${attributes[@]}" >"$context/system.tar"
# The data directory, and a place for tokens that containers hand each other; a volume that is mounted there takes its owner.
mkdir -p "$context/data/var/lib/pentora" "$context/data/run/pentora"
chmod 0700 "$context"/data/*/pentora "$context/data/var/lib/pentora"
printf '%s\0' run/pentora var/lib/pentora | archive 65532 "$context/data" >"$context/data.tar"
tar --concatenate --file="$context/system.tar" "$context/data.tar"
mkdir "$context/build"
mv "$context/system.tar" "$context/build/root.tar"
cp "$here/Containerfile" "$context/build/"

names=("$image:$version")
for name in ${ALSO:-}; do names+=("$name"); done
arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
  --file "$context/build/Containerfile")
# shellcheck disable=SC2086
tool() { "$builder" ${STORAGE:-} "$@"; }

# buildah notes in an image which container it was made in, by two names of chance, and that changes the image's digest: the image that it
# made is written into a folder, without them, and read from there.
without_chance() { # without_chance ID FOLDER: the id of the same image without them
  local id=$1 folder=$2 push=(--quiet --format v2s2) config sum
  [ "$builder" != buildah ] || push+=(--disable-compression)
  tool push "${push[@]}" "$id" "dir:$folder" >&2
  config=$(sed -nE 's/.*"config":\{[^}]*"digest":"sha256:([0-9a-f]{64})".*/\1/p' "$folder/manifest.json")
  [ -n "$config" ] || fail "$builder writes a manifest of another form: $(head -c 300 "$folder/manifest.json")"
  sed -E 's/"(Hostname|container)":"[0-9a-f]+"/"\1":""/g' "$folder/$config" >"$folder/config"
  rm "$folder/$config"
  sum=$(sha256sum "$folder/config" | cut -d' ' -f1)
  sed -i -E "s/\"size\":[0-9]+,\"digest\":\"sha256:$config\"/\"size\":$(stat -c %s "$folder/config"),\"digest\":\"sha256:$sum\"/" "$folder/manifest.json"
  mv "$folder/config" "$folder/$sum"
  tool pull --quiet "dir:$folder" | tail -n 1
  tool rmi "$id" >&2
}

case $builder in
  docker) docker build "${arguments[@]}" "${names[@]/#/--tag=}" "$context/build" ;;
  *)
    # The format of docker has health checks, that of OCI has none.
    tool build --format docker --timestamp "$SOURCE_DATE_EPOCH" --iidfile "$context/id" "${arguments[@]}" "$context/build"
    made=$(without_chance "$(sed 's/^sha256://' "$context/id")" "$context/image")
    for name in "${names[@]}"; do tool tag "$made" "$name"; done
    ;;
esac
size=$(stat -c %s "$context/build/root.tar")
echo "built: $image:$version, $(awk -v size="$size" 'BEGIN { printf "%.1f", size / 1e6 }') MB of image ($size bytes), $(stat -c %s "$program") bytes of it the program"
