#!/bin/bash
# Runs every block of shell of the tutorial and of the how-to pages, as a reader would: a page is one session, and a page of the
# tutorial goes on where the one before ended. Blocks marked `console` want something that not every machine has: what runs them is said
# below, page by page, and for those that nothing here can run, why. Of all of these the program is asked besides whether it understands
# its own words. No block is of a third kind, and no page with a `console` block is left out of the list. Part of `make check-deploy`.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${PENTORA_INSIDE:-}" ]; then PENTORA_INSIDE=1 exec tests/with-namespaces "$PWD/tests/deploy/${0##*/}" "$@"; fi

bin=${DIST:-${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist}
export PATH=$bin:$PATH PENTORA_SOURCE=$PWD
for variable in $(compgen -e | grep -E '^PENTORA_|^WORKER_TOKEN$|^COORDINATOR_URL$' | grep -v -e INSIDE -e SOURCE || true); do unset "$variable"; done

blocks() { awk -v kind="${2:-sh}" '$0 == "```" kind { inside = 1; next } /^```$/ { inside = 0 } inside' "$1"; }
# Pages whose blocks marked `console` are run here, and what that wants.
declare -A here=([containers]=podman [watch]=promtool)
# Pages whose blocks are not, and who does what they say; or why nobody does.
declare -A elsewhere=(
  [kubernetes]="kubectl has no cluster to speak to here. tests/deploy/pods.sh runs the pods by podman, makes the same Secrets by the same commands, and waits and drains as they say; tests/deploy/kubernetes.sh renders and validates what is applied"
  [release]="the build would be made again from nothing. tests/deploy/release.sh makes a release of the program that is there, and checks its sums"
  [systemd]="no systemd runs here. tests/deploy/package.sh puts the files where they belong with the page's own commands, and starts the program as the units say; tests/tests/units.rs has the units' mounts and capabilities; systemd-analyze verifies those"
  [upgrade]="nothing is installed on this machine. tests/deploy/package.sh drains, upgrades and looks again in a root of its own, by dpkg; tests/tests/units.rs drains a member that joined"
)
source tests/deploy/containers.sh
failed=0 ran=0
session() { # session NAME PAGE...
  local name=$1 dir script page status
  shift
  dir=$(mktemp -d) script=$(mktemp)
  for page in "$@"; do blocks "$page" "${kind:-sh}"; done >"$script"
  [ -s "$script" ] || { rm -rf "$dir" "$script"; return; }
  # Namespaces of their own: what a page leaves running ends with it.
  status=0
  # What is put in at /mnt/usb is the session's own.
  (cd "${folder:-$dir}" && HOME=$dir timeout "${PENTORA_PAGE_SECONDS:-240}" unshare --pid --fork --kill-child --mount-proc \
    bash -c 'mount -t tmpfs usb /mnt && mkdir /mnt/usb && exec bash -euo pipefail "$1"' session "$script" </dev/null) \
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
for page in docs/how-to/*.md; do
  name=$(basename "$page" .md)
  session "how to: $name" "$page"
  [ -n "$(blocks "$page" console)" ] || { [ -z "${here[$name]:-}${elsewhere[$name]:-}" ] || { echo "$page is listed, and has no such block" >&2; failed=1; }; continue; }
  case ${here[$name]:-} in
    podman)
      missing=$(containers_missing)
      if [ -n "$missing" ]; then echo "how to: $name: not run: $missing"; continue; fi
      # The page's own commands, by podman, with the image that `make image` builds.
      containers=$(mktemp -d)
      (
        containers_begin "$containers"
        DIST=$bin containers_image pentora/pentora-enterprise:latest
        failed=0
        kind=console session "how to: $name, in containers" "$page"
        containers_end
        exit $failed
      ) || failed=1
      rm -rf "$containers"
      ;;
    promtool)
      if command -v promtool >/dev/null; then kind=console folder=$PWD session "how to: $name, in the sources' folder" "$page"; else echo "how to: $name: not run: promtool is not installed"; fi
      ;;
    *)
      [ -n "${elsewhere[$name]:-}" ] || { echo "$page: its blocks marked console are run by nobody, and nothing says why" >&2; failed=1; continue; }
      echo "how to: $name: of its blocks $(blocks "$page" console | grep -c .) lines are not run: ${elsewhere[$name]}"
      ;;
  esac
done
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
            for call in re.findall(r"(?:^|(?<!-g)[\s(])((?:pentora|pentora-node) [a-z][^|)<>;]*)", line):
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
