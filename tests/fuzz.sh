#!/bin/bash
# Runs fuzz targets, one after another: docs/FUZZING.md.
#
# usage: tests/fuzz.sh SECONDS [TARGET...]; without a target all of them
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${1:?usage: tests/fuzz.sh SECONDS [TARGET...]}
shift
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "SECONDS is for how long each target runs: a whole number from 1, not $seconds" >&2; exit 2; }

# The crate that a target is of; nothing where there is none.
crate_of() {
  local crate
  for crate in scanner node; do
    if [ -f "$crate/fuzz/fuzz_targets/$1.rs" ]; then echo "$crate"; fi
  done
}
all=$(basename -a -s .rs scanner/fuzz/fuzz_targets/*.rs node/fuzz/fuzz_targets/*.rs)
[ $# -gt 0 ] || set -- $all
for name; do
  [ -n "$(crate_of "$name")" ] || { printf 'there is no fuzz target %s; there are:\n' "$name" >&2; printf '%s\n' "$all" >&2; exit 2; }
done

target=${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "installing cargo-fuzz" >&2
  CARGO_TARGET_DIR=$HOME/.cache/pentora/tools cargo install --locked cargo-fuzz
fi

failed=()
for name; do
  echo "$name, for $seconds seconds" >&2
  (
    cd "$(crate_of "$name")"
    mkdir -p "fuzz/corpus/$name"
    places=("fuzz/corpus/$name") words=()
    [ ! -d "fuzz/seeds/$name" ] || places+=("fuzz/seeds/$name")
    [ ! -f "fuzz/dictionaries/$name.dict" ] || words=("-dict=fuzz/dictionaries/$name.dict")
    # Without a sanitizer, so that the stable toolchain will do; `unsafe` is what memcheck is for.
    CARGO_TARGET_DIR=$target/fuzz cargo fuzz run -s none "$name" "${places[@]}" -- \
      "-max_total_time=$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 "${words[@]}"
  ) || failed+=("$name")
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}; what they failed by is in fuzz/artifacts of their crates" >&2
  exit 1
fi
