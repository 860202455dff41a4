#!/bin/bash
# Runs every block of shell of the tutorial and of the how-to pages, as a reader would: a page is one session, and a page of the
# tutorial goes on where the one before ended. Blocks marked `console` are for machines that are not here: of those, the program is
# asked whether it understands its own words. No block is of a third kind. Part of `make check-deploy`.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${PENTORA_INSIDE:-}" ]; then PENTORA_INSIDE=1 exec tests/with-namespaces "$PWD/tests/deploy/${0##*/}" "$@"; fi

bin=${DIST:-${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist}
export PATH=$bin:$PATH PENTORA_SOURCE=$PWD
for variable in $(compgen -e | grep -E '^PENTORA_|^WORKER_TOKEN$|^COORDINATOR_URL$' | grep -v -e INSIDE -e SOURCE || true); do unset "$variable"; done

blocks() { awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$1"; }
failed=0 ran=0
session() { # session NAME PAGE...
  local name=$1 dir script page status
  shift
  dir=$(mktemp -d) script=$(mktemp)
  for page in "$@"; do blocks "$page"; done >"$script"
  [ -s "$script" ] || { rm -rf "$dir" "$script"; return; }
  # Namespaces of their own: what a page leaves running ends with it.
  status=0
  (cd "$dir" && HOME=$dir timeout "${PENTORA_PAGE_SECONDS:-240}" unshare --pid --fork --kill-child --mount-proc bash -euo pipefail "$script" </dev/null) \
    >"$dir/.out" 2>&1 || status=$?
  ran=$((ran + 1))
  if [ $status = 0 ]; then
    echo "$name: $(grep -c . "$script") lines"
  else
    echo "$name: exit $status"
    tail -n 30 "$dir/.out"
    tail -n 10 "$dir"/*.log 2>/dev/null || true
    failed=1
  fi
  rm -rf "$dir" "$script"
}
session "tutorial: first scan" docs/tutorial/first-scan.md
session "tutorial: first mesh, first failover" docs/tutorial/first-mesh.md docs/tutorial/first-failover.md
for page in docs/how-to/*.md; do session "how to: $(basename "$page" .md)" "$page"; done
python3 - docs/tutorial/*.md docs/how-to/*.md <<'PYTHON' || failed=1
import re, shlex, subprocess, sys

wrong, understood = [], 0
for page in sys.argv[1:]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", open(page).read(), re.M | re.S)
    wrong += [f"{page}: a block of `{kind}` is run by nobody" for kind, _ in blocks if kind not in ("sh", "console", "text")]
    for text in (text for kind, text in blocks if kind == "console"):
        # One line each, comments taken off; what is ours may stand behind `docker exec NAME` and the like.
        for line in text.replace("\\\n", " ").splitlines():
            line = re.split(r"\s#\s", line)[0]
            for call in re.findall(r"(?:^|(?<!-g)[\s(])((?:pentora|pentora-node) [a-z][^|)<>]*)", line):
                words = shlex.split(call)
                said = subprocess.run(words + ["--help"], capture_output=True, text=True)
                understood += 1
                if said.returncode:
                    wrong.append(f"{page}: {call}: {said.stderr.strip().splitlines()[0]}")
print(f"console: {understood} commands are understood" if not wrong else "\n".join(wrong))
sys.exit(bool(wrong) or understood < 8)
PYTHON
[ $ran -ge 8 ] || { echo "only $ran pages have blocks" >&2; failed=1; }
exit $failed
