#!/bin/bash
# Runs every test of the workspace: `make test`. Extra arguments go to the test runner (a name, -p PACKAGE).
#
# Everything is built first, with the network, because the tests run without one (tests/with-namespaces). The system
# tests start the programs from the target folder, so the programs are part of that build. The doc tests go first: the
# runner's own summary ends the output.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --workspace --all-targets
# The next release, for the test that upgrades to it. The whole workspace is named so that no dependency changes with it.
cargo build --release --workspace --features pentora-node/next-version --bin pentora-node-next
tests/with-namespaces cargo test --release --workspace --doc
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --release --workspace --no-run
  tests/with-namespaces cargo nextest run --release --workspace --no-tests=pass "$@"
else
  # One process per test binary: the system tests share two cores, so few at a time.
  tests/with-namespaces cargo test --release --workspace --lib --bins --tests "$@" -- --test-threads=2
fi
