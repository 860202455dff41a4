#!/bin/bash
# Makes the documentation's site and looks whether its pages are there and their links lead somewhere. Part of `make check-deploy`.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
DIST=${DIST:-${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist} docs/build.sh "$out" >"$out.log" 2>&1 || { cat "$out.log"; rm -f "$out.log"; exit 1; }
rm -f "$out.log"
python3 - "$out" <<'PYTHON'
import os, sys, urllib.parse
from html.parser import HTMLParser

top = sys.argv[1]
pages, ids, links = {}, {}, []

class Page(HTMLParser):
    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            ids[self.path].add(attributes["id"])
        if tag == "a" and attributes.get("href"):
            links.append((self.path, attributes["href"]))

for folder, _, names in os.walk(top):
    for name in names:
        # The whole book on one page has links of each page's own folder.
        if name.endswith(".html") and name not in ("print.html", "404.html", "toc.html"):
            path = os.path.join(folder, name)
            ids[path] = set()
            page = Page()
            page.path = path
            page.feed(open(path, encoding="utf-8").read())
broken = set()
for page, link in links:
    parts = urllib.parse.urlsplit(link)
    if parts.scheme or parts.netloc:
        continue
    to = os.path.normpath(os.path.join(os.path.dirname(page), urllib.parse.unquote(parts.path))) if parts.path else page
    if not os.path.exists(to):
        broken.add(f"{os.path.relpath(page, top)}: {link}: there is no such page")
    elif parts.fragment and to in ids and urllib.parse.unquote(parts.fragment) not in ids[to]:
        broken.add(f"{os.path.relpath(page, top)}: {link}: there is no such place on it")
print(f"{len(ids)} pages, {len(links)} links, {len(broken)} of them lead nowhere")
print("\n".join(sorted(broken)))
sys.exit(bool(broken) or len(ids) < 25)
PYTHON
