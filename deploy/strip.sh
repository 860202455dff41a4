#!/bin/bash
# Makes what is shipped of the program that cargo built: the program without symbols, a third of its size; its symbols
# beside it, in PROGRAM.debug; and its second name, pentora, as a link to it.
#
# usage: deploy/strip.sh PROGRAM FOLDER
#
# Not in cargo's own folder: cargo puts the whole program back there at each build. The program names its symbols
# (.gnu_debuglink), so gdb, addr2line and its own backtraces find them while both lie in one folder.
set -euo pipefail

program=$1 folder=$2 name=${1##*/}
made=$folder/$name

link() { [ "$(readlink "$folder/pentora")" = "$name" ] || ln -sfn "$name" "$folder/pentora"; }

# The stripped program has the age of the one it is made of: cargo may bring back an older one (another branch).
if [ -e "$made.debug" ] && [ -e "$made" ] && ! [ "$made" -nt "$program" ] && ! [ "$made" -ot "$program" ]; then
  link
  exit
fi

mkdir -p "$folder"
# Each file is put in place whole, so that a node that runs from here goes on with what it has.
part=$(mktemp -d "$folder/.strip.XXXXXX")
trap 'rm -rf "$part"' EXIT
objcopy --only-keep-debug --compress-debug-sections "$program" "$part/$name.debug"
chmod 0644 "$part/$name.debug"
(cd "$part" && objcopy --strip-all --add-gnu-debuglink="$name.debug" "$program" "$name")
chmod 0755 "$part/$name"
touch -r "$program" "$part/$name"
mv -f "$part/$name.debug" "$made.debug"
mv -f "$part/$name" "$made"
link
