#!/bin/bash
# Makes a release and holds it against what deploy/release.sh says that it consists of: checksums, the archive's files installed below a
# folder of the test's own, and the list of what the program is made of. Part of `make check-deploy`.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${DIST:=${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist}"
export DIST FAST=1
out=$(mktemp -d) root=$(mktemp -d)
trap 'rm -rf "$out" "$root"' EXIT
deploy/release.sh "$out" >/dev/null
(cd "$out" && sha256sum --check --quiet SHA256SUMS)
[ "$(wc -l <"$out/SHA256SUMS")" = 4 ] || { cat "$out/SHA256SUMS" >&2; exit 1; }

tar -C "$root" -xzf "$out"/pentora-*-linux-gnu.tar.gz
"$root/usr/local/bin/pentora" --version
cmp "$root/usr/local/bin/pentora-node" "$DIST/pentora-node"
# Everything that was installed is in the list that `make uninstall` goes by.
missing=$(find "$root" ! -type d -printf '/%P\n' | grep -vxFf "$root/usr/local/share/doc/pentora/installed" | grep -v '/doc/pentora/installed$' || true)
[ -z "$missing" ] || { echo "not in the list of what is installed: $missing" >&2; exit 1; }
gunzip -c "$out"/pentora-*.debug.gz | cmp - "$DIST/pentora-node.debug"

python3 - "$out"/pentora-*.cdx.json <<'PYTHON'
import json, sys
document = json.load(open(sys.argv[1]))
parts = {part["name"]: part for part in document["components"]}
assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5"), document["bomFormat"]
for name in ("tokio", "openraft", "rocksdb", "libp2p", "rustls", "pentora-scanner"):
    assert name in parts, f"{name} is not among {len(parts)} parts"
unlicensed = [name for name, part in parts.items() if not part.get("licenses")]
assert not unlicensed, f"without a licence: {unlicensed}"
print(f"{len(parts)} parts, each with its licence")
PYTHON
