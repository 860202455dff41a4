#!/bin/bash
# Installs what `make build` made, or removes what was installed: `make install`, `make uninstall`.
#
# usage: deploy/install.sh install|uninstall, with these in the environment:
#   DIST     the folder with the programs: deploy/strip.sh makes it
#   PREFIX   where they will be used, /usr/local unless set
#   DESTDIR  a folder that stands for / meanwhile, for who makes packages
#   UNITDIR  where systemd looks for units, PREFIX/lib/systemd/system unless set
#
# What is installed is written down in PREFIX/share/doc/pentora/installed, folders that were not there before included;
# only that is removed. Nothing in /etc and nothing of a node is touched: its configuration and data are its owner's.
set -euo pipefail
umask 022
export LC_ALL=C

root=${DESTDIR:-} prefix=${PREFIX:-/usr/local}
prefix=${prefix%/}
units=${UNITDIR:-$prefix/lib/systemd/system}
docs=$prefix/share/doc/pentora
list=$docs/installed
here=$(dirname "$0")
before=() now=()

fail() {
  echo "$*" >&2
  exit 1
}
# These go into the unit file and into a list of lines.
for path in "$prefix" "$units"; do
  [[ $path =~ ^(/[A-Za-z0-9._+-]+)*$ ]] || fail "not a folder to install into: \"$path\" (absolute, of letters, digits and ._+-)"
done
if [ -e "$root$list" ]; then mapfile -t before <"$root$list"; fi

# Makes a folder with what is missing above it.
folder() {
  [ ! -d "$root$1/" ] || return 0
  folder "${1%/*}"
  mkdir "$root$1"
  now+=("$1/")
}
put() { # put MODE FILE PATH
  folder "${3%/*}"
  install -m "$1" -T -- "$2" "$root$3"
  now+=("$3")
}
link() { # link NAME PATH
  folder "${2%/*}"
  ln -sfnT -- "$1" "$root$2"
  now+=("$2")
}
write_list() { printf '%s\n' "${before[@]}" "${now[@]}" | sed '/^$/d' | sort -u >"$root$list"; }

install_all() {
  local part name page path old
  [ -x "${DIST:?}/pentora-node" ] || fail "no program in $DIST: run \`make build\` first, as who builds; or name its folder with DIST="
  part=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$part'" EXIT
  # From a clean environment: nothing of this user's settings belongs in what is installed.
  for name in pentora pentora-node; do
    for page in bash zsh fish; do
      env -i "$DIST/$name" completions "$page" >"$part/$name.$page"
    done
  done
  env -i "$DIST/pentora" man --dir "$part/man"
  for name in pentora.service pentora-worker@.service; do
    sed "s|/usr/local/|$prefix/|g" "$here/$name" >"$part/$name"
  done

  [ -z "$root" ] || mkdir -p "$root"
  folder "$docs"
  # Also when it is interrupted, what is there can be removed.
  # shellcheck disable=SC2064
  trap "write_list; rm -rf '$part'" EXIT
  now+=("$list")
  put 0755 "$DIST/pentora-node" "$prefix/bin/pentora-node"
  link pentora-node "$prefix/bin/pentora"
  for name in pentora pentora-node; do
    put 0644 "$part/$name.bash" "$prefix/share/bash-completion/completions/$name"
    put 0644 "$part/$name.zsh" "$prefix/share/zsh/site-functions/_$name"
    put 0644 "$part/$name.fish" "$prefix/share/fish/vendor_completions.d/$name.fish"
  done
  for page in "$part"/man/*; do
    put 0644 "$page" "$prefix/share/man/man1/${page##*/}"
  done
  link pentora.1 "$prefix/share/man/man1/pentora-node.1"
  put 0644 "$here/pentora.yaml" "$docs/pentora.yaml"
  for name in pentora.service pentora-worker@.service; do
    put 0644 "$part/$name" "$units/$name"
  done

  # What an earlier version installed and this one does not; the folders that it made stay on the list.
  local -A is_new
  for path in "${now[@]}"; do is_new[$path]=1; done
  old=("${before[@]}") before=()
  for path in "${old[@]}"; do
    case $path in
      */) now+=("$path") ;;
      *) [ -n "${is_new[$path]:-}" ] || rm -f -- "$root$path" ;;
    esac
  done
  echo "installed: $root$prefix/bin/pentora-node and its second name, pentora; every file is listed in $root$list"
}

uninstall_all() {
  local path
  [ -e "$root$list" ] || fail "nothing is installed by \`make install\` below $root$prefix"
  for path in "${before[@]}"; do
    case $path in */) ;; *) rm -f -- "$root$path" ;; esac
  done
  # The deepest first; one that holds something else by now stays.
  printf '%s\n' "${before[@]}" | sort -r | while read -r path; do
    case $path in */) rmdir -- "$root$path" 2>/dev/null || true ;; esac
  done
  echo "removed what was installed below $root$prefix"
}

case ${1:-} in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) fail "usage: $0 install|uninstall" ;;
esac
