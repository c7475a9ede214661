// Shows what the server tells: the list of runs, and the present run. All that is told is written as text, never as markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const PHASES = ["handshake", "send", "drain", "upload", "done"];
const IN_WORDS = {
  handshake: "the peers reach out to each other",
  send: "messages are multicast",
  drain: "all is sent, and the last messages are on their way",
  upload: "the run is over, and its logs are collected",
  done: "the logs are here, and are judged",
};
const STATES = { planned: "planned", playing: "is played", held: "held", violated: "violated", unfinished: "not finished" };
const SILENT_S = 2;             // a peer speaks every second
const MOST_ARROWS = 150;
const STRETCH = 1.25;           // a degree of latitude is drawn so much longer than one of longitude
const WORLD = { west: -170, east: 190, south: -56, north: 76 };
const NORTHMOST = 84, SOUTHMOST = -60;  // of the land that is drawn
const LEAST_DEGREES = 45;       // shown from west to east, where all regions are close together

const byId = name => document.getElementById(name);
const number = value => value.toLocaleString("en");
const words = names => names.length < 5 ? names.join(", ") : `${names.slice(0, 4).join(", ")} and ${names.length - 4} more`;
const element = (name, about = {}, ...inside) => filled(document.createElement(name), about, inside);
const drawn = (name, about = {}, ...inside) => filled(document.createElementNS(SVG, name), about, inside);

function filled(node, about, inside) {
  for (const [name, value] of Object.entries(about)) if (value !== null) node.setAttribute(name, value);
  node.append(...inside);
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function seconds(value) {
  return value < 60 ? `${value.toFixed(0)} s` : `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
}

function latency(value) {
  if (value === null || value === undefined) return "";
  if (value >= 10) return `${value.toFixed(0)} s`;
  if (value >= 1) return `${value.toFixed(1)} s`;
  return `${(value * 1000).toFixed(value > 0 && value < 0.01 ? 1 : 0)} ms`;
}

function bytes(value) {
  if (value < 1000) return `${value} B`;
  const unit = value < 1e6 ? [1e3, "kB"] : value < 1e9 ? [1e6, "MB"] : [1e9, "GB"];
  return `${(value / unit[0]).toFixed(1)} ${unit[1]}`;
}

// -- what is known

let listed = null, present = null, world = [], chosen = null;

function peers() {
  const told = new Map((present?.progress?.members ?? []).map(member => [member.name, member]));
  const lags = new Set(present && forAll() ? [] : present?.progress?.waiting_for);
  return (present?.members ?? []).map((name, place) => {
    const member = told.get(name);
    const region = present.regions[place] ?? "";
    if (!member) return { name, region, state: "awaited", words: "not heard of yet", waits: [], share: 0 };
    const expected = present.messages * present.members.length;
    const share = expected ? Math.min(1, member.delivered / expected) : 0;
    const waits = member.waits_for.filter(each => each !== name);
    const about = { name, region, ...member, expected, share, waits };
    if (!member.connected) return { ...about, state: "gone", words: `no connection for ${seconds(member.silent_s)}` };
    if (member.silent_s > SILENT_S) return { ...about, state: "silent", words: `silent for ${seconds(member.silent_s)}` };
    const through = ["drained", "closed", "collected"].includes(member.phase) && share === 1;
    if (through) return { ...about, state: "through", words: isOver() ? "done" : member.phase };
    const late = lags.has(name) && present.progress.phase !== "handshake";
    return { ...about, state: "plays", words: member.phase + (late ? ", the run waits for it" : "") };
  });
}

function forAll() {
  return present.progress?.waiting_for.length === present.members.length;
}

// -- the list of runs

function showRuns() {
  say(byId("name"), listed.name);
  document.title = `${listed.name} · live`;
  const ended = listed.runs.filter(run => !["planned", "playing"].includes(run.state)).length + listed.earlier;
  const all = listed.runs.length + listed.earlier;
  byId("ended").max = Math.max(1, all);
  byId("ended").value = ended;
  say(byId("count"), `${number(ended)} of ${number(all)}${listed.earlier ? `, the first ${number(listed.earlier)} not listed` : ""}`);
  byId("list").replaceChildren(...listed.runs.map((run, place) => {
    const swatch = element("span", { class: "swatch ordering", "aria-hidden": "true" });
    swatch.style.background = run.colour;
    const kind = { violated: "bad", held: "good", unfinished: "late" }[run.state] ?? "nothing";
    const judged = run.promised > 0;
    const held = run.unknown
      ? `${run.promised - run.unknown} of ${run.promised} held, no evidence for ${run.unknown}` : `all ${run.promised} held`;
    const promises = !judged ? "" : run.violated.length ? `violated: ${run.violated.join(", ")}` : held;
    const rounds = run.rounds === null ? "" : `${number(run.out_of_order)} of ${number(run.rounds)}`;
    const isPresent = place === listed.present && run.state === "playing";
    return element("tr", { "data-state": run.state, "aria-current": isPresent ? "true" : null },
      element("th", { scope: "row" }, element("span", { class: "title" }, swatch, ...jointed(run.title))),
      element("td", { class: kind }, STATES[run.state]),
      element("td", { class: "number" }, rounds),
      element("td", { class: run.violated.length ? "bad" : judged && !run.unknown ? "good" : "" }, promises),
      element("td", {}, run.broken.join(", ")),
      element("td", {}, run.error, ...(run.error && run.folder ? [element("br")] : []), ...(run.folder ? [element("code", {}, run.folder)] : [])));
  }));
  const at = listed.runs[listed.present];
  byId("runs").hidden = !listed.runs.length;
  const nothing = listed.over ? "It ended without one." : "It is about to begin.";
  const heading = at ? at.title : "No run yet";
  if (byId("heading-now").dataset.told !== heading) {
    byId("heading-now").dataset.told = heading;
    const swatch = element("span", { class: "swatch ordering", "aria-hidden": "true" });
    if (at) swatch.style.background = at.colour;
    byId("heading-now").replaceChildren(...(at ? [element("span", {}, swatch, heading)] : [heading]));
  }
  if (!at) say(byId("phase"), nothing);
}

// The title of an ordering, which may go on in the next line at its joints.
function jointed(title) {
  return title.split(/(?<=[_:])/).flatMap((part, place) => place ? [element("wbr"), part] : [part]);
}

// -- the present run

function isOver(run = listed?.runs[listed.present]) {
  return run !== undefined && !["planned", "playing"].includes(run.state);
}

function showPresent() {
  const run = listed?.runs[listed.present], progress = present.progress;
  const over = isOver(run);
  const phase = over ? "done" : progress?.phase;
  const at = PHASES.indexOf(phase);
  for (const step of byId("steps").children) {
    const place = PHASES.indexOf(step.dataset.phase);
    step.classList.toggle("past", place < at || over === true);
    mark(step, "aria-current", place === at && !over ? "step" : null);
  }
  if (run) say(byId("phase"), inWords(run, progress, over));
  const everything = present.messages * present.members.length ** 2;
  const delivered = (progress?.members ?? []).reduce((sum, member) => sum + member.delivered, 0);
  fill("deliveries", delivered, everything, "delivered", `${number(delivered)} of ${number(everything)}`);
  const come = progress?.collected_bytes ?? 0, announced = progress?.announced_bytes ?? 0;
  fill("logs", come, announced, "collected", announced ? `${bytes(come)} of ${bytes(announced)}` : "none announced yet");
  const all = peers();
  if (chosen && !all.some(peer => peer.name === chosen)) chosen = null;
  showMembers(all);
  showMap(all);
}

function inWords(run, progress, over) {
  if (over) {
    const rounds = run.rounds === null ? "" : `, ${number(run.out_of_order)} of ${number(run.rounds)} rounds out of order`;
    const held = run.unknown ? "It broke no promise" : "It held what it promised";
    return `${{ held, violated: "It broke a promise", unfinished: "It did not come to its end" }[run.state]}${rounds}.`;
  }
  if (!progress) return "It is played.";
  const whom = words(progress.waiting_for);
  const waits = forAll() ? "; everybody is still at it" : whom ? `; waits for ${whom}` : "";
  return `${seconds(progress.elapsed_s)}: ${IN_WORDS[progress.phase] ?? progress.phase}${waits}.`;
}

function fill(bar, value, total, label, text) {
  byId(bar).max = Math.max(1, total);
  byId(bar).value = Math.min(value, Math.max(1, total));
  say(byId(label), text);
}

function showMembers(all) {
  const table = byId("members");
  if (table.children.length !== all.length || all.some((peer, place) => table.children[place].dataset.peer !== peer.name)) {
    table.replaceChildren(...all.map(peer => {
      const button = element("button", { type: "button", "aria-pressed": "false" }, peer.name);
      button.addEventListener("click", () => choose(peer.name));
      const row = element("tr", { "data-peer": peer.name }, element("th", { scope: "row" }, button));
      for (const kind of ["", "state", "number", "number", "number", "number", "waits"]) row.append(element("td", { class: kind }));
      return row;
    }));
  }
  all.forEach((peer, place) => {
    const row = table.children[place], [, region, state, sent, delivered, resent, took, waits] = row.children;
    const kind = { gone: "bad", silent: "late", through: "good" }[peer.state] ?? "";
    const heard = peer.phase !== undefined;
    mark(row, "data-state", peer.state);
    row.classList.toggle("chosen", peer.name === chosen);
    mark(row.querySelector("button"), "aria-pressed", peer.name === chosen);
    say(region, peer.region);
    mark(state, "class", `state ${kind}`);
    say(state, peer.words);
    say(sent, heard ? `${number(peer.asked)} of ${number(present.messages)}` : "");
    say(delivered, heard ? `${number(peer.delivered)} of ${number(peer.expected)}` : "");
    say(resent, heard ? number(peer.resent) : "");
    say(took, latency(peer.latency_s));
    say(waits, words(peer.waits));
  });
}

function choose(name) {
  chosen = name === chosen ? null : name;
  if (present) showPresent();
}

// -- the map

let laid = null;                // where everything is, until who takes part or the size changes

function showMap(all) {
  const map = byId("map"), width = map.clientWidth, height = map.clientHeight;
  if (!width || !height) return;
  const key = JSON.stringify([width, height, world.length, present.members, present.regions]);
  if (laid?.key !== key) laid = { key, ...layOut(map, all, width, height) };
  map.classList.toggle("chosen-one", chosen !== null);
  for (const peer of all) {
    const { node, radius } = laid.of.get(peer.name), [disc, arc, , took, title] = node.children;
    mark(node, "class", `peer ${peer.state}${peer.name === chosen ? " chosen" : ""}`);
    const around = 2 * Math.PI * radius;
    mark(arc, "stroke-dasharray", around.toFixed(1));
    mark(arc, "stroke-dashoffset", (around * (1 - peer.share)).toFixed(1));
    mark(arc, "visibility", peer.share > 0 ? null : "hidden");
    say(took, peer.state === "gone" ? "gone" : peer.state === "silent" ? "silent" : latency(peer.latency_s));
    say(title, `${peer.name}${peer.region ? `, ${peer.region}` : ""}: ${peer.words}${peer.waits.length ? `; waits for ${words(peer.waits)}` : ""}`);
  }
  showArrows(all);
  const states = all.map(peer => `${peer.name} ${peer.words}`);
  mark(map, "aria-label", all.length ? `Where the ${all.length} peers are; ${words(states)}. The table below says all of it.` : "No peers yet");
}

function layOut(map, all, width, height) {
  map.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const known = all.filter(peer => present.places[peer.region]), unknown = all.filter(peer => !present.places[peer.region]);
  const small = width < 600, largest = small ? 12 : 17;
  const { rx, ry } = ellipse(width, height, largest), apiece = Math.PI * (rx + ry) / Math.max(1, unknown.length);
  const radius = Math.max(3, Math.min(largest, Math.max(8, largest + 1 - all.length / 8), apiece / 2 - 3));
  map.classList.toggle("crowded", apiece < 44);
  const view = known.length ? fit(known, width, height) : null;
  const clusters = [...clustered(known, view, radius, small ? 20 : 24), ...ringed(unknown, width, height, radius, known.length > 0)];
  apart(clusters.filter(cluster => cluster.spot), width, height);
  const ground = drawn("g", { "aria-hidden": "true" }), nodes = drawn("g"), of = new Map();
  if (view) ground.append(...land(view, width, height));
  if (unknown.length > 1) ground.append(drawn("ellipse", { class: "ring", ...ellipse(width, height, radius) }));
  for (const cluster of clusters) {
    const { x, y, spot } = cluster;
    if (spot && Math.hypot(spot.x - x, spot.y - y) > 8) {
      ground.append(drawn("line", { class: "tether", x1: spot.x, y1: spot.y, x2: x, y2: y }));
      ground.append(drawn("circle", { class: "spot", cx: spot.x, cy: spot.y, r: 3 }));
    }
    cluster.peers.forEach((peer, place) => {
      const at = cluster.seat(place), short = shortened(peer.name, radius);
      const node = drawn("g", { class: "peer", transform: `translate(${at.x.toFixed(1)} ${at.y.toFixed(1)})` },
        drawn("circle", { class: "disc", r: radius }),
        drawn("circle", { class: "arc", r: radius, transform: "rotate(-90)" }),
        drawn("text", { class: "who", "font-size": Math.min(13, 26 * radius / 15 / Math.max(2, short.length)).toFixed(1) }, short),
        drawn("text", { class: "took", y: radius + 14 }),
        drawn("title"));
      node.addEventListener("click", () => choose(peer.name));
      nodes.append(node);
      of.set(peer.name, { node, radius, ...at });
    });
    if (cluster.label) nodes.append(drawn("text", { class: "region", x, y: cluster.bottom() }, cluster.label));
  }
  const tip = (id, kind) => drawn("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse", markerUnits: "userSpaceOnUse" },
    drawn("path", { d: "M0 0L8 4L0 8z", class: `tip ${kind}` }));
  const arrows = drawn("g", { "aria-hidden": "true" });
  map.replaceChildren(drawn("defs", {}, tip("tip", ""), tip("tip-grave", "grave")), ground, arrows, nodes);
  return { of, arrows, lines: new Map() };
}

function shortened(name, radius) {
  const most = radius > 14 ? 5 : 4;
  return name.length <= most ? name : `${name.slice(0, most - 1)}…`;
}

// The part of the world in which all known regions are, with room around them.
function fit(known, width, height) {
  const spots = known.map(peer => present.places[peer.region]);
  const span = (values, share, least) => {
    const low = Math.min(...values), high = Math.max(...values), pad = Math.max((high - low) * share, (least - high + low) / 2);
    return [low - pad, high + pad];
  };
  let [west, east] = span(spots.map(spot => spot[2]), 0.16, LEAST_DEGREES);
  let [south, north] = span(spots.map(spot => spot[1]), 0.3, LEAST_DEGREES / 3);
  [west, east] = [Math.max(west, WORLD.west), Math.min(east, WORLD.east)];
  [south, north] = [Math.max(south, WORLD.south), Math.min(north, WORLD.north)];
  const scale = Math.min(width / (east - west), height / ((north - south) * STRETCH));
  const half = height / scale / STRETCH / 2, lowest = SOUTHMOST + half, highest = NORTHMOST - half;
  const centre = Math.max(lowest, Math.min(highest, (south + north) / 2));
  const middle = { longitude: (west + east) / 2, latitude: lowest < highest ? centre : (NORTHMOST + SOUTHMOST) / 2 };
  return (longitude, latitude) => ({
    x: width / 2 + (longitude - middle.longitude) * scale,
    y: height / 2 - (latitude - middle.latitude) * scale * STRETCH,
  });
}

function land(view) {
  const lines = [];
  for (let longitude = -180; longitude <= 210; longitude += 30) lines.push([[longitude, SOUTHMOST], [longitude, NORTHMOST]]);
  for (let latitude = SOUTHMOST; latitude <= NORTHMOST; latitude += 30) lines.push([[-180, latitude], [210, latitude]]);
  const path = points => points.map(([longitude, latitude], place) => {
    const { x, y } = view(longitude, latitude);
    return `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  }).join("");
  const paired = flat => flat.flatMap((value, place) => place % 2 ? [] : [[value, flat[place + 1]]]);
  return [
    drawn("path", { class: "grid", d: lines.map(path).join("") }),
    drawn("path", { class: "land", d: world.map(shore => path(paired(shore)) + "z").join("") }),
  ];
}

// The peers of one region stand together, in rows, around its place.
function clustered(known, view, radius, between) {
  return [...grouped(known)].map(([label, members]) => {
    const [, latitude, longitude] = present.places[label], spot = view(longitude, latitude);
    const columns = Math.ceil(Math.sqrt(members.length * 1.6)), rows = Math.ceil(members.length / columns);
    const across = 2 * radius + between, down = 2 * radius + 22;
    const cluster = {
      label, peers: members, spot, x: spot.x, y: spot.y,
      width: Math.max(columns * across, 7.5 * label.length) + 4, height: rows * down + 22,
      seat: place => {
        const row = Math.floor(place / columns), inRow = Math.min(columns, members.length - row * columns);
        return {
          x: cluster.x + (place % columns - (inRow - 1) / 2) * across,
          y: cluster.y - cluster.height / 2 + radius + 4 + row * down,
        };
      },
      bottom: () => cluster.y + cluster.height / 2 - 4,
    };
    return cluster;
  });
}

function grouped(known) {
  const regions = new Map();
  for (const peer of known) regions.set(peer.region, [...(regions.get(peer.region) ?? []), peer]);
  return regions;
}

// Peers of which nobody knows where they are stand on a ring, those of a region side by side.
function ringed(unknown, width, height, radius, besides) {
  const regions = new Set(unknown.map(peer => peer.region)), first = new Set();
  const around = [...unknown].sort((one, other) => one.region < other.region ? -1 : one.region > other.region ? 1 : 0);
  const { cx, cy, rx, ry } = ellipse(width, height, radius);
  return around.map((peer, place) => {
    const angle = (place / around.length) * 2 * Math.PI - Math.PI / 2;
    const alone = around.length === 1;
    const label = (besides || regions.size > 1) && !first.has(peer.region) ? peer.region : "";
    first.add(peer.region);
    const x = alone ? cx : cx + rx * Math.cos(angle), y = alone ? cy : cy + ry * Math.sin(angle);
    return { label, peers: [peer], x, y, seat: () => ({ x, y }), bottom: () => y + radius + 28 };
  });
}

function ellipse(width, height, radius) {
  return { cx: width / 2, cy: height / 2 - 4, rx: Math.min(width / 2 - radius - 24, height * 0.95), ry: height / 2 - radius - 26 };
}

// Clusters that lie upon each other are pushed apart, and stay within the map.
function apart(clusters, width, height) {
  for (let round = 0; round < 300; round++) {
    let moved = false;
    for (let one = 0; one < clusters.length; one++) {
      for (let two = one + 1; two < clusters.length; two++) {
        const a = clusters[one], b = clusters[two];
        const over = { x: (a.width + b.width) / 2 - Math.abs(a.x - b.x), y: (a.height + b.height) / 2 - Math.abs(a.y - b.y) };
        if (over.x <= 0 || over.y <= 0) continue;
        const way = over.x < over.y && round < 100 ? "x" : "y", sign = a[way] < b[way] || (a[way] === b[way] && one < two) ? 1 : -1;
        a[way] -= sign * over[way] / 2;
        b[way] += sign * over[way] / 2;
        moved = true;
      }
    }
    for (const cluster of clusters) {
      cluster.x = Math.max(cluster.width / 2 + 2, Math.min(width - cluster.width / 2 - 2, cluster.x));
      cluster.y = Math.max(cluster.height / 2 + 2, Math.min(height - cluster.height / 2 - 2, cluster.y));
    }
    if (!moved) return;
  }
}

// From who waits to whom it waits for; of very many only those to whom most wait for.
function showArrows(all) {
  const peerOf = new Map(all.map(peer => [peer.name, peer])), wanted = new Map();
  for (const peer of all) {
    for (const target of peer.waits) {
      if (laid.of.has(target)) wanted.set(target, [...(wanted.get(target) ?? []), peer.name]);
    }
  }
  const lines = new Map();
  for (const [target, waiting] of [...wanted].sort((one, other) => other[1].length - one[1].length)) {
    if (lines.size + waiting.length > MOST_ARROWS && lines.size) break;
    for (const from of waiting) lines.set(`${from}\n${target}`, [from, target]);
  }
  for (const [key, line] of laid.lines) {
    if (!lines.has(key)) { line.remove(); laid.lines.delete(key); }
  }
  for (const [key, [from, target]] of lines) {
    let line = laid.lines.get(key);
    if (!line) {
      line = drawn("path", { d: arc(laid.of.get(from), laid.of.get(target)) });
      laid.lines.set(key, line);
      laid.arrows.append(line);
    }
    const grave = ["gone", "silent"].includes(peerOf.get(target).state);
    mark(line, "class", `wait${grave ? " grave" : ""}${chosen === from || chosen === target ? " chosen" : ""}`);
  }
}

function arc(from, target) {
  const x = target.x - from.x, y = target.y - from.y, far = Math.hypot(x, y) || 1;
  const bend = { x: from.x + x / 2 - y * 0.14, y: from.y + y / 2 + x * 0.14 };
  const edge = (peer, toward) => {
    const away = Math.hypot(toward.x - peer.x, toward.y - peer.y) || 1, gap = Math.min(peer.radius + 4, far / 2);
    return `${(peer.x + (toward.x - peer.x) / away * gap).toFixed(1)} ${(peer.y + (toward.y - peer.y) / away * gap).toFixed(1)}`;
  };
  return `M${edge(from, bend)}Q${bend.x.toFixed(1)} ${bend.y.toFixed(1)} ${edge(target, bend)}`;
}

// -- what is heard

let spoken = "";

function speak() {
  const run = listed?.runs[listed.present];
  if (!run) return;
  const over = isOver(run);
  const key = `${listed.earlier + listed.present} ${run.state} ${over ? "" : present?.progress?.phase}`;
  if (key === spoken) return;
  spoken = key;
  const phase = IN_WORDS[present?.progress?.phase] ?? "begins";
  say(byId("spoken"), `${run.title}: ${over ? inWords(run, null, true) : phase}`);
}

function link(state, text, more = "") {
  byId("link").dataset.link = state;
  say(byId("link"), text);
  say(byId("where"), more);
}

function listen() {
  const source = new EventSource("/events");
  const show = () => {
    if (listed) showRuns();
    if (listed && present) showPresent();
    speak();
  };
  source.addEventListener("open", () => link("live", "live"));
  source.addEventListener("runs", event => {
    listed = JSON.parse(event.data);
    show();
    if (listed.over) {
      source.close();
      link("over", "ended", `The program has ended, at ${new Date().toLocaleTimeString()}. What stands here is how it ended.`);
    }
  });
  source.addEventListener("present", event => { present = JSON.parse(event.data); show(); });
  source.addEventListener("error", () => {
    link("lost", "no connection", "What stands here is what was heard last; trying again.");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
}

function themes() {
  const theme = byId("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
  try { document.documentElement.dataset.theme = localStorage.getItem("lab-theme") || ""; } catch (error) { /* nothing may be kept */ }
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("lab-theme", document.documentElement.dataset.theme); } catch (error) { /* nothing may be kept */ }
    label();
  });
  dark.addEventListener("change", label);
  label();
}

themes();
addEventListener("keydown", event => { if (event.key === "Escape" && chosen) choose(chosen); });
new ResizeObserver(() => { if (present) showPresent(); }).observe(byId("map"));
fetch("/world.json").then(answer => answer.json()).then(shores => { world = shores; if (present) showPresent(); }).catch(() => {});
listen();
