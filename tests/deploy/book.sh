#!/bin/bash
# Makes the documentation's site and looks whether its pages are there, their links lead somewhere, and the reference's tables are whole.
# Part of `make check-deploy`.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
DIST=${DIST:-${CARGO_TARGET_DIR:-$HOME/.cache/pentora/target}/dist} docs/build.sh "$out" >"$out.log" 2>&1 || { cat "$out.log"; rm -f "$out.log"; exit 1; }
rm -f "$out.log"
python3 - "$out" <<'PYTHON'
import os, re, sys, urllib.parse
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

def rows(page):
    text = open(os.path.join(top, "reference", page), encoding="utf-8").read()
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in re.findall(r"<tr>(.*?)</tr>", text, re.S)]
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in cells if row]

wrong = []
keys = {row[0]: row for row in rows("configuration.html")}
wrong += [f"configuration: {key}: it is not said what it is for, or what it takes" for key, row in keys.items() if not row[1] or not row[3]]
for key, takes in [("mesh.profile", "lan, wan, fast"), ("cluster.voters", "3, 5, 7"), ("node.init", "true, false"), ("results.copies", "1 to 3")]:
    if keys.get(key, [""])[-1] != takes:
        wrong.append(f"configuration: {key} takes {takes}, and not {keys.get(key)}")
# The names by which events go over the API, from their own table in the source.
named = []
for file in ("raft/src/event.rs", "raft/src/event/of_cluster.rs"):
    named += re.findall(r'^    [A-Za-z]+ => "([a-z_]+)",$', open(file).read().split("names! {", 1)[1].split("\n}", 1)[0], re.M)
told = {row[0]: row[1] for row in rows("events.html")}
if len(named) < 20 or sorted(told) != sorted(named) or not all(told.values()):
    wrong.append(f"events: not told, or by no such name: {sorted(set(told) ^ set(named))}")
print(f"{len(keys)} keys, {len(told)} events, {len(wrong)} of them wrong")
print("\n".join(wrong))
sys.exit(bool(broken or wrong) or len(ids) < 25 or len(keys) < 60)
PYTHON
