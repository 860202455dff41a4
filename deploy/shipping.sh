#!/bin/bash
# What the scripts that make something to ship have in common; sourced by them. They run in the tree's top folder afterwards.
#
#   version             the release's version
#   maintainer          who answers for packages
#   SOURCE_DATE_EPOCH   the date of everything that is made: that of the commit, unless set
#   archive OWNER ...   a tar of the paths that come on standard input, the same bytes for the same files
#   cargo_tool NAME     sees to it that `cargo NAME` is there
umask 022
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
# shellcheck disable=SC2034
maintainer=$(sed -nE 's/^maintainer = "(.*)"/\1/p' node/Cargo.toml)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

archive() { # archive OWNER FOLDER [OPTION...]: paths below FOLDER on standard input, each behind a NUL
  local owner=$1 folder=$2
  shift 2
  tar --create --format=posix --pax-option=delete=atime,delete=ctime --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner \
    --owner="$owner" --group="$owner" "$@" --directory "$folder" --no-recursion --null --files-from=-
}

# The tools are kept apart from what they are used on, so that a clean tree keeps them.
cargo_tool() {
  cargo "$1" --version >/dev/null 2>&1 || CARGO_TARGET_DIR=$HOME/.cache/pentora/tools cargo install --locked --quiet "cargo-$1" >&2
}
