#!/bin/bash
# Everything about deployment that wants tools of its own: `make check-deploy`. Says at the end what failed.
set -uo pipefail
cd "$(dirname "$0")"
failed=()
for part in kubernetes metrics pods compose package release docs book; do
  echo "== $part"
  ./$part.sh || failed+=("$part")
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
