"use strict";
// Draws the report from its JSON islands. Every word of a scanned host becomes a text node, never markup.
(() => {
  const SEVERITIES = ["critical", "high", "medium", "low", "info"];
  const RANK = { critical: 5, high: 4, medium: 3, low: 2, info: 1 };
  const PAGE_ROWS = 100;
  const PRINTED_ROWS_MAX = 3000;
  const DAY_S = 86400;

  const island = (id) => JSON.parse(document.getElementById(id).textContent);
  const scan = island("scan"), hosts = island("hosts"), summary = island("summary");
  const byId = (id) => document.getElementById(id);

  // Characters that act on the text around them, and what is none: joiners and marks are of their script.
  const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]/g;
  const clean = (text) => String(text).replace(/[\ud800-\udbff][\udc00-\udfff]|[^]/g, (c) =>
    c.length === 2 ? c : c.replace(HIDDEN, (odd) => "\\u{" + odd.charCodeAt(0).toString(16) + "}"));

  function el(name, attributes, ...children) {
    const node = document.createElement(name);
    fill(node, attributes, children);
    return node;
  }
  function svg(name, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    fill(node, attributes, children);
    return node;
  }
  function fill(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === "click") node.addEventListener("click", value);
      else if (key === "height" || key === "width") node.style[key] = value;
      else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    for (const child of children.flat(9)) {
      if (child === undefined || child === null || child === "") continue;
      node.append(child instanceof Node ? child : document.createTextNode(clean(child)));
    }
  }
  const number = (value) => Number(value).toLocaleString("en-US");
  const plural = (count, one, many) => number(count) + " " + (count === 1 ? one : many || one + "s");
  const day = (seconds) => {
    const date = new Date(seconds * 1000);
    return Number.isNaN(date.getTime()) ? "beyond any calendar" : date.toISOString().slice(0, 10);
  };
  const minute = (seconds) => {
    const date = new Date(seconds * 1000);
    return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 16).replace("T", " ") + " UTC";
  };

  // ---- what is counted ----
  const isOpen = (port) => port.s === "open";
  const serviceName = (port) => !port.v ? "unknown"
    : (port.v.tls && !port.v.tls.starttls ? "ssl/" : "") + port.v.name + (port.v.guess ? "?" : "");
  const product = (port) => port.v ? [port.v.product, port.v.version].filter(Boolean).join(" ") : "";
  const extra = (port) => port.v ? [port.v.info, port.v.os, port.v.device].filter(Boolean).join("; ") : "";
  const worstOf = (weaknesses) => {
    let worst = "";
    for (const weakness of weaknesses || [])
      if (!weakness.potential && (RANK[weakness.severity] || 0) > (RANK[worst] || 0)) worst = weakness.severity;
    return worst;
  };
  const endpoint = (host, port) => (host.a.includes(":") ? "[" + host.a + "]" : host.a) + ":" + port.p + "/" + port.t;
  // Addresses in numeric order: parts padded, IPv6 after IPv4.
  const addressKey = (address) => {
    if (!address.includes(":")) return "4" + address.split(".").map((part) => part.padStart(3, "0")).join("");
    const [before, after] = address.split("::");
    const groups = (text) => text ? text.split(":") : [];
    const head = groups(before), tail = groups(after || "");
    const middle = after === undefined ? [] : new Array(Math.max(0, 8 - head.length - tail.length)).fill("0");
    return "6" + [...head, ...middle, ...tail].map((part) => part.padStart(4, "0")).join("");
  };
  const BUCKETS = [
    ["Expired", "critical", (days) => days < 0],
    ["7 d", "high", (days) => days >= 0 && days <= 7],
    ["30 d", "medium", (days) => days > 7 && days <= 30],
    ["90 d", "low", (days) => days > 30 && days <= 90],
    ["1 y", "none", (days) => days > 90 && days <= 366],
    ["Later", "info", (days) => days > 366 && days < Infinity],
  ];

  const rows = { hosts: [], services: [], weaknesses: [], certificates: [] };
  for (const host of hosts) {
    const open = host.p.filter(isOpen);
    const weak = [];
    for (const port of host.p) {
      if (isOpen(port)) rows.services.push({ host, port, worst: worstOf(port.w) });
      for (const weakness of port.w || []) {
        weak.push(weakness);
        rows.weaknesses.push({ host, port, weakness });
      }
      const own = port.v && port.v.tls && port.v.tls.own;
      // Against the time of the scan, not of the reading: a kept report reads the same tomorrow.
      if (own) rows.certificates.push({ host, port, own, days: own.not_after_s === null ? Infinity : Math.floor((own.not_after_s - host.t) / DAY_S) });
    }
    const sure = weak.filter((weakness) => !weakness.potential).length;
    const worst = worstOf(weak);
    const feared = worst ? "" : worstOf(weak.map((weakness) => ({ severity: weakness.severity })));
    rows.hosts.push({ host, open, worst, feared, sure, maybe: weak.length - sure });
  }

  // ---- tables ----
  const badge = (severity, potential) => !severity ? "" : el("span",
    { class: "badge c-" + severity + " b-" + severity + (potential ? " maybe" : ""), title: potential ? "Potential: a version fits, nothing shows that the fix is missing" : undefined },
    potential ? severity + "?" : severity);
  const list = (values) => {
    const seen = [...new Set(values)];
    return seen.slice(0, 8).map((value) => el("span", { class: "tag" }, value)).concat(seen.length > 8 ? ["+" + (seen.length - 8)] : []);
  };
  const address = (row) => el("span", { class: "mono" }, row.host.a);
  const place = (row) => el("span", { class: "mono" }, endpoint(row.host, row.port));
  const placeKey = (row) => addressKey(row.host.a) + String(row.port.p).padStart(6, "0") + row.port.t;
  const alsoCalled = (host) => (host.d || []).map(([name, source]) => name + " (" + source + ")").join(", ");
  const hardware = (host) => host.h ? host.h[0] + (host.h[1] ? " (" + host.h[1] + ")" : "") : "";
  const hostName = (host) => host.n || (host.d && host.d.length ? host.d[0][0] : "");
  const lacks = (host) => "Probes to it were lost: about " + Math.round(100 * host.f) + " % of its ports that answer are likely to be here.";
  const hostText = (host) => [host.a, host.n, alsoCalled(host), hardware(host), host.w, host.m ? "middlebox" : "", host.f !== undefined ? "lossy" : ""];
  const portText = (port) => [port.p + "/" + port.t, serviceName(port), product(port), extra(port), port.b, port.v && port.v.hostname,
    port.v && port.v.http && port.v.http.title, port.v && port.v.http && port.v.http.server, port.v && (port.v.cpes || []).join(" "),
    port.v && port.v.tls && port.v.tls.own && port.v.tls.own.subject + " " + port.v.tls.own.names.join(" "),
    port.v && port.v.tls && port.v.tls.problems.join(" ")];
  const weakText = (weakness) => [weakness.id, weakness.title, weakness.severity, weakness.potential ? "potential" : "", weakness.method];

  const TABLES = {
    hosts: {
      title: "Hosts", sort: 0, down: false,
      text: (row) => [hostText(row.host), row.host.p.map((port) => [portText(port), (port.w || []).map(weakText)])],
      columns: [
        ["Address", (row) => address(row), (row) => addressKey(row.host.a), "fit"],
        ["Name", (row) => hostName(row.host), (row) => hostName(row.host)],
        ["Worst", (row) => row.worst ? badge(row.worst) : badge(row.feared, true),
          (row) => row.worst ? 10 + RANK[row.worst] : RANK[row.feared] || 0, "fit"],
        ["Weaknesses", (row) => row.sure ? number(row.sure) : "", (row) => row.sure, "num"],
        ["Potential", (row) => row.maybe ? number(row.maybe) : "", (row) => row.maybe, "num"],
        ["Open ports", (row) => number(row.open.length), (row) => row.open.length, "num"],
        ["Services", (row) => [row.host.m ? el("span", { class: "tag warn" }, "middlebox") : "", row.host.f !== undefined ? el("span", { class: "tag warn", title: lacks(row.host) }, "lossy") : "", list(row.open.map(serviceName))], (row) => row.open.map(serviceName).join(" ")],
        ["System", (row) => list(row.open.map((port) => port.v && port.v.os).filter(Boolean)), (row) => row.open.map((port) => (port.v && port.v.os) || "").join("")],
      ],
      detail: (row) => hostDetail(row.host),
    },
    services: {
      title: "Services", sort: 0, down: false,
      text: (row) => [hostText(row.host), portText(row.port)],
      columns: [
        ["Address", (row) => address(row), placeKey, "fit"],
        ["Port", (row) => row.port.p + "/" + row.port.t, (row) => row.port.p, "fit"],
        ["Service", (row) => serviceName(row.port), (row) => serviceName(row.port), "fit"],
        ["Product", (row) => product(row.port), (row) => product(row.port)],
        ["More", (row) => extra(row.port), (row) => extra(row.port)],
        ["Said", (row) => (row.port.v && row.port.v.http && row.port.v.http.title) || el("span", { class: "mono" }, (row.port.b || "").slice(0, 160)),
          (row) => (row.port.v && row.port.v.http && row.port.v.http.title) || row.port.b || ""],
        ["Worst", (row) => badge(row.worst), (row) => RANK[row.worst] || 0, "fit"],
      ],
      detail: (row) => [hostHead(row.host), portDetail(row.port)],
    },
    weaknesses: {
      title: "Weaknesses", sort: 0, down: true,
      text: (row) => [hostText(row.host), portText(row.port), weakText(row.weakness)],
      columns: [
        ["Severity", (row) => badge(row.weakness.severity, row.weakness.potential),
          (row) => (row.weakness.potential ? 0 : 10) + (RANK[row.weakness.severity] || 0), "fit"],
        ["Id", (row) => el("span", { class: "mono" }, row.weakness.id), (row) => row.weakness.id, "fit"],
        ["Weakness", (row) => row.weakness.title, (row) => row.weakness.title],
        ["Where", (row) => place(row), placeKey, "fit"],
        ["Service", (row) => [serviceName(row.port), " ", el("span", { class: "quiet" }, product(row.port))], (row) => serviceName(row.port) + product(row.port)],
        ["Confidence", (row) => row.weakness.confidence + " %", (row) => row.weakness.confidence, "num"],
      ],
      detail: (row) => [hostHead(row.host), el("div", { class: "block" }, weakDetail(row.weakness)), portDetail(row.port, true)],
    },
    certificates: {
      title: "Certificates", sort: 0, down: false,
      text: (row) => [hostText(row.host), portText(row.port), row.own.issuer, row.own.serial, row.own.sha256, row.own.key],
      columns: [
        ["Expires", (row) => row.own.not_after_s === null ? "" : day(row.own.not_after_s), (row) => row.own.not_after_s, "fit"],
        ["Left at scan", (row) => row.days < 0 ? "expired" : row.days < Infinity ? plural(row.days, "day") : "", (row) => row.days, "num fit"],
        ["Subject", (row) => row.own.subject, (row) => row.own.subject],
        ["Issuer", (row) => row.own.issuer, (row) => row.own.issuer],
        ["Where", (row) => place(row), placeKey, "fit"],
        ["Key", (row) => row.own.key, (row) => row.own.key, "fit"],
        ["Protocols", (row) => row.port.v.tls.versions.join(" "), (row) => row.port.v.tls.versions.join(" ")],
        ["Problems", (row) => row.port.v.tls.problems.map((word) => el("span", { class: "tag warn" }, word)), (row) => row.port.v.tls.problems.join(" ")],
      ],
      detail: (row) => [hostHead(row.host), portDetail(row.port)],
    },
  };

  // ---- details ----
  function pairs(entries) {
    const body = entries.filter(([, value]) => value !== undefined && value !== null && value !== "" && !(Array.isArray(value) && !value.length))
      .map(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]);
    return body.length ? el("dl", {}, body.flat()) : "";
  }
  function hostHead(host) {
    return el("h3", {}, el("span", { class: "mono" }, host.a), host.n ? " " + host.n : "");
  }
  function hostDetail(host) {
    const counted = (host.x || []).map(([state, reason, count]) => number(count) + " " + state + " (" + reason + ")").join(", ");
    return [
      hostHead(host),
      host.m ? el("p", { class: "notice" }, "Something on the way answers for every port of this address: its open ports mean nothing.") : "",
      host.f !== undefined ? el("p", { class: "notice" }, lacks(host)) : "",
      pairs([["Up because of", host.r], ["Also called", alsoCalled(host)], ["Hardware", hardware(host)],
        ["Time to live", host.l], ["Not shown", counted], ["Scanned", minute(host.t) + " by " + host.w]]),
      el("p", {}),
      host.p.slice(0, 200).map((port) => portDetail(port)),
      host.p.length > 200 ? el("p", { class: "quiet" }, "and " + plural(host.p.length - 200, "more port")) : "",
    ];
  }
  function portDetail(port, withoutWeaknesses) {
    const service = port.v || {}, tls = service.tls, http = service.http || {}, own = tls && tls.own;
    return el("div", { class: "block" },
      el("h3", {}, port.p + "/" + port.t + " ", el("span", { class: "quiet" }, port.s + ", " + port.r + " "), serviceName(port), product(port) ? ", " + product(port) : ""),
      pairs([
        ["Known by", service.name === undefined ? "" : service.guess ? "the port's number: a guess" : "its answer, " + service.confidence + " %"],
        ["More", [service.info, service.os, service.device].filter(Boolean).join("; ")],
        ["Calls itself", service.hostname],
        ["CPE", (service.cpes || []).join("  ")],
        ["Banner", port.b ? el("pre", {}, port.b) : ""],
        ["HTTP", service.http ? [http.status || "no status", http.title, http.server, http.generator, http.is_login ? "asks for a login" : ""].filter(Boolean).join(", ") : ""],
        ["Redirects to", http.location],
        ["Headers", http.headers && http.headers.length ? el("pre", {}, http.headers.map(([key, value]) => clean(key) + ": " + clean(value)).map((line) => [document.createTextNode(line), el("br")]).flat()) : ""],
        ["TLS", tls ? [tls.versions.join(" "), tls.cipher, tls.starttls ? "after " + tls.starttls : ""].filter(Boolean).join(", ") : ""],
        ["TLS problems", tls ? tls.problems.map((word) => el("span", { class: "tag warn" }, word)) : ""],
        ["Certificate", own ? own.subject : ""],
        ["Names", own ? own.names.slice(0, 40).join(", ") + (own.names.length > 40 ? " and " + (own.names.length - 40) + " more" : "") : ""],
        ["Issuer", own ? own.issuer : ""],
        ["Valid", own ? day(own.not_before_s) + " to " + day(own.not_after_s) : ""],
        ["Key", own ? [own.key, own.signature].filter(Boolean).join(", ") : ""],
        ["SHA-256", own ? el("span", { class: "mono" }, own.sha256) : ""],
        ["Facts", (service.facts || []).map(([key, value]) => key + ": " + value).join("; ")],
      ]),
      withoutWeaknesses ? "" : (port.w || []).map(weakDetail));
  }
  function weakDetail(weakness) {
    return el("div", { class: "weak k-" + weakness.severity },
      el("h3", {}, badge(weakness.severity, weakness.potential), " ", el("span", { class: "mono" }, weakness.id), " ", weakness.title),
      weakness.potential ? el("p", { class: "quiet" }, "Potential, and in no count: a version fits, but nothing shows that the fix is missing.") : "",
      pairs([
        ["Seen", weakness.evidence ? el("pre", {}, weakness.evidence) : ""],
        ["Remedy", weakness.remedy],
        ["Found by", weakness.method + ", confidence " + weakness.confidence + " %"],
        ["References", (weakness.references || []).map((url) => el("div", {}, reference(url)))],
      ]));
  }
  // Only the web is linked, and the link is its own text.
  function reference(url) {
    return /^https?:\/\/[!-~]+$/.test(url) ? el("a", { href: url, rel: "noopener noreferrer nofollow", target: "_blank" }, url) : url;
  }

  // ---- state, filter, sort, page ----
  let tab = "hosts", page = 0, words = [], facets = [], shown = [], pageRows = PAGE_ROWS;
  const opened = new WeakSet();
  const textOf = (row) => row.text === undefined
    ? (row.text = TABLES[tab].text(row).flat(9).filter(Boolean).join("\n").toLowerCase()) : row.text;

  function select() {
    const table = TABLES[tab], key = table.columns[table.sort][2], sign = table.down ? -1 : 1;
    const tests = facets.filter((facet) => facet.tab === tab).map((facet) => facet.test);
    const kept = rows[tab].filter((row) => tests.every((test) => test(row)) && (!words.length || words.every((word) => textOf(row).includes(word))));
    const keyed = kept.map((row, index) => [key(row), index, row]);
    keyed.sort((a, b) => (a[0] < b[0] ? -sign : a[0] > b[0] ? sign : a[1] - b[1]));
    shown = keyed.map((entry) => entry[2]);
    page = Math.min(page, Math.max(0, Math.ceil(shown.length / pageRows) - 1));
  }
  function draw() {
    select();
    drawTabs();
    byId("facets").replaceChildren(...facets.filter((facet) => facet.tab === tab).map((facet) =>
      el("button", { type: "button", class: "chip", title: "Remove this filter", click: () => { facets = facets.filter((other) => other !== facet); draw(); } }, facet.label + " \u00d7")));
    const table = TABLES[tab];
    const order = (column) => {
      if (table.sort === column) table.down = !table.down;
      else { table.sort = column; table.down = false; }
      page = 0;
      draw();
    };
    byId("table").tHead.replaceChildren(el("tr", {}, table.columns.map(([title, , , kind], column) => {
      const head = el("th", { class: kind, scope: "col", tabindex: "0", "aria-sort": table.sort === column ? (table.down ? "descending" : "ascending") : undefined, click: () => order(column) }, title);
      head.addEventListener("keydown", (event) => { if (event.key === "Enter") order(column); });
      return head;
    })));
    const part = shown.slice(page * pageRows, (page + 1) * pageRows);
    const body = part.length ? part.flatMap(drawRow)
      : [el("tr", {}, el("td", { colspan: table.columns.length, class: "empty" }, rows[tab].length ? "Nothing matches this filter." : "There are none."))];
    byId("table").tBodies[0].replaceChildren(...body);
    drawPager();
  }
  function drawRow(row) {
    const table = TABLES[tab];
    const line = el("tr", { class: "row" + (opened.has(row) ? " open" : ""), tabindex: "0" }, table.columns.map(([, show, , kind]) => el("td", { class: kind }, show(row))));
    const detail = () => el("tr", { class: "detail" }, el("td", { colspan: table.columns.length }, table.detail(row)));
    const toggle = () => {
      if (opened.has(row)) { opened.delete(row); line.nextElementSibling.remove(); }
      else { opened.add(row); line.after(detail()); }
      line.classList.toggle("open");
    };
    line.addEventListener("click", () => { if (!String(getSelection())) toggle(); });
    line.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target === line) toggle(); });
    return opened.has(row) ? [line, detail()] : [line];
  }
  function drawTabs() {
    byId("tabs").replaceChildren(...Object.entries(TABLES).map(([name, table]) => el("button",
      { type: "button", role: "tab", "aria-selected": String(name === tab), click: () => show(name) }, table.title, el("small", {}, number(rows[name].length)))));
  }
  function drawPager() {
    const pages = Math.max(1, Math.ceil(shown.length / pageRows));
    const go = (to) => () => { page = to; draw(); byId("tabs").scrollIntoView({ block: "nearest" }); };
    const button = (label, to, off) => el("button", { type: "button", class: "plain", disabled: off, click: go(to) }, label);
    const first = shown.length ? page * pageRows + 1 : 0, last = Math.min(shown.length, (page + 1) * pageRows);
    byId("pager").replaceChildren(
      el("span", {}, number(first) + "\u2013" + number(last) + " of " + number(shown.length) + (shown.length < rows[tab].length ? " (of " + number(rows[tab].length) + ")" : "")),
      button("First", 0, page === 0), button("Previous", page - 1, page === 0),
      el("span", {}, "page " + number(page + 1) + " of " + number(pages)),
      button("Next", page + 1, page + 1 >= pages), button("Last", pages - 1, page + 1 >= pages));
  }
  function show(name) {
    if (name !== tab) for (const row of rows[tab]) delete row.text;
    tab = name;
    page = 0;
    draw();
  }
  function choose(name, label, test) {
    facets = facets.filter((facet) => facet.tab !== name);
    facets.push({ tab: name, label, test });
    show(name);
    byId("tabs").scrollIntoView({ block: "nearest" });
  }

  // ---- charts ----
  function card(title, ...content) {
    return el("div", { class: "card" }, el("h2", {}, title), content);
  }
  function hostsChart() {
    const counts = SEVERITIES.map((severity) => [severity, rows.hosts.filter((row) => row.worst === severity).length]);
    counts.push(["none", rows.hosts.filter((row) => !row.worst).length]);
    const total = rows.hosts.length, round = 100;
    const ring = svg("svg", { viewBox: "0 0 42 42", role: "img", "aria-label": "Hosts by their worst weakness" },
      svg("circle", { cx: 21, cy: 21, r: 15.9155, fill: "none", stroke: "var(--soft)", "stroke-width": 6 }));
    let start = 25;
    for (const [name, count] of counts) {
      if (!count) continue;
      const share = count / total * round;
      ring.append(svg("circle", { cx: 21, cy: 21, r: 15.9155, fill: "none", class: "s-" + name, "stroke-width": 6, "stroke-dasharray": share + " " + (round - share), "stroke-dashoffset": start }));
      start -= share;
    }
    ring.append(svg("text", { x: 21, y: 22.6 }, compact(total)), svg("text", { x: 21, y: 27, class: "quiet" }, total === 1 ? "host" : "hosts"));
    const legend = el("div", { class: "legend" }, counts.map(([name, count]) => el("button",
      { type: "button", class: "item", disabled: !count, click: () => choose("hosts", "worst: " + name, (row) => (row.worst || "none") === name) },
      el("span", { class: "dot c-" + name }), name === "none" ? "none found" : name, el("b", {}, number(count)))));
    return card("Hosts by worst weakness", el("div", { class: "donut" }, ring, legend));
  }
  const compact = (value) => value >= 10000 ? Math.round(value / 1000) + "k" : number(value);
  function line(label, count, most, parts, click) {
    return el("button", { type: "button", class: "line", title: clean(label), click },
      el("span", { class: "label" }, label),
      el("span", { class: "track" }, parts.map(([kind, value]) => el("i", { class: kind, width: (most ? value / most * 100 : 0) + "%" }))),
      el("b", {}, count));
  }
  function severityChart() {
    const counts = SEVERITIES.map((severity) => {
      const all = rows.weaknesses.filter((row) => row.weakness.severity === severity);
      const maybe = all.filter((row) => row.weakness.potential).length;
      return [severity, all.length - maybe, maybe];
    });
    const most = Math.max(...counts.map(([, sure, maybe]) => sure + maybe));
    if (!most) return card("Weaknesses by severity", el("div", { class: "empty" }, "No weakness was found."));
    return card("Weaknesses by severity", counts.map(([severity, sure, maybe]) => line(severity, number(sure) + (maybe ? " +" + compact(maybe) : ""), most,
      [["c-" + severity, sure], ["maybe c-" + severity, maybe]], () => choose("weaknesses", "severity: " + severity, (row) => row.weakness.severity === severity))),
      counts.some(([, , maybe]) => maybe) ? el("div", { class: "quiet" }, "Lighter and +: potential, in no count.") : "");
  }
  function servicesChart() {
    const counts = new Map();
    for (const row of rows.services) {
      const name = serviceName(row.port);
      counts.set(name, (counts.get(name) || 0) + 1);
    }
    const top = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    if (!top.length) return card("Services", el("div", { class: "empty" }, "No port is open."));
    const most = top[0][1], rest = top.slice(7);
    const lines = top.slice(0, 7).map(([name, count]) => line(name, number(count), most, [["", count]], () => choose("services", "service: " + name, (row) => serviceName(row.port) === name)));
    return card("Services on open ports", lines, rest.length ? el("div", { class: "quiet" }, "and " + plural(rest.length, "more kind")) : "");
  }
  function certificatesChart() {
    const counts = BUCKETS.map(([label, kind, test]) => [label, kind, rows.certificates.filter((row) => test(row.days)).length, test]);
    const most = Math.max(...counts.map(([, , count]) => count));
    if (!most) return card("Certificates by expiry", el("div", { class: "empty" }, "No certificate was seen."));
    return card("Certificates by expiry", el("div", { class: "columns" }, counts.map(([label, kind, count, test]) => el("button",
      { type: "button", class: "column", click: () => choose("certificates", "expiry: " + label, (row) => test(row.days)) },
      el("b", {}, number(count)), el("i", { class: "c-" + kind, height: (count ? Math.max(3, count / most * 105) : 1) + "px" }), el("span", {}, label)))));
  }

  // ---- head ----
  function figures() {
    const sure = summary.weaknesses, grave = sure.critical + sure.high;
    const figure = (value, label, kind) => el("div", { class: "figure " + (kind || "") }, el("b", {}, value), el("span", {}, label));
    const potential = SEVERITIES.reduce((sum, severity) => sum + summary.potential[severity], 0);
    byId("figures").replaceChildren(
      figure(number(summary.hosts_up), "hosts up of " + plural(summary.targets_scanned, "target")),
      figure(number(summary.open_ports), "open ports"),
      figure(number(summary.services_detected), "services identified"),
      figure(number(summary.vulnerabilities), "weaknesses" + (potential ? ", and " + number(potential) + " potential" : "")),
      figure(number(grave), "of them critical or high", grave ? "bad" : ""),
      figure(number(rows.certificates.filter((row) => row.days <= 30).length), "certificates that end in 30 days"));
  }
  function head() {
    const parts = [];
    if (scan.command) parts.push(el("span", { class: "mono" }, scan.command));
    const facts = [scan.started_at ? scan.started_at.slice(0, 16).replace("T", " ") + " UTC" : "", scan.job || "", summary.duration_seconds ? duration(summary.duration_seconds) : ""].filter(Boolean).join(" \u00b7 ");
    if (facts) parts.push(parts.length ? el("br") : "", facts);
    byId("head").replaceChildren(...parts.filter(Boolean));
    const notes = summary.notes.map((note) => el("p", { class: "notice" }, note));
    if (summary.targets_scanned < summary.targets_total) notes.unshift(el("p", { class: "notice" }, "Not complete: " + number(summary.targets_scanned) + " of " + plural(summary.targets_total, "target") + " were scanned."));
    byId("notes").replaceChildren(...notes);
    byId("foot").replaceChildren("Pentora " + clean(scan.version) + (scan.ports ? " \u00b7 ports " + (scan.ports.length > 200 ? scan.ports.slice(0, 200) + " ..." : scan.ports) : "") + (summary.probes_sent ? " \u00b7 " + plural(summary.probes_sent, "probe") : "") + (summary.recall_measured ? " \u00b7 recall " + summary.recall_measured.low.toFixed(4) + "\u2013" + summary.recall_measured.high.toFixed(4) + " measured" : "") + " \u00b7 This page loads nothing from the network.");
  }
  const duration = (seconds) => seconds < 60 ? seconds.toFixed(2) + " s" : Math.floor(seconds / 60) + " min " + Math.floor(seconds % 60) + " s";

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = (theme) => document.documentElement.setAttribute("data-theme", theme);
  paint(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => paint(dark.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => paint(document.documentElement.getAttribute("data-theme") === "dark" ? "light" : "dark"));

  let waiting = 0, before = "light";
  byId("query").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      page = 0;
      draw();
    }, 120);
  });
  // On paper: the rows of the chosen table as filtered, up to a bound, on white.
  addEventListener("beforeprint", () => {
    before = document.documentElement.getAttribute("data-theme");
    paint("light");
    pageRows = PRINTED_ROWS_MAX;
    page = 0;
    draw();
  });
  addEventListener("afterprint", () => { paint(before); pageRows = PAGE_ROWS; draw(); });

  head();
  figures();
  byId("charts").replaceChildren(hostsChart(), severityChart(), servicesChart(), certificatesChart());
  draw();
})();
