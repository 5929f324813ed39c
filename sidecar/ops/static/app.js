// Draws /api/state once a second. Text from outside only ever becomes textContent.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const SMOOTH = 10; // seconds that the figures of a card are taken over
const hues = new Map();

const byId = (id) => document.getElementById(id);

function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  if (options.class) made.className = options.class;
  if (options.text !== undefined) made.textContent = options.text;
  made.append(...children);
  return made;
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function hue(service) {
  if (service === "none") return "none";
  if (!hues.has(service)) hues.set(service, `s${hues.size % 6}`);
  return hues.get(service);
}

function milliseconds(value) {
  if (value === null) return "–";
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${(value / 1000).toFixed(value < 10000 ? 1 : 0)} s`;
}

function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const known = (values) => values.filter((value) => value !== null);
const latest = (values) => values.slice(-SMOOTH);

function median(values) {
  const sorted = known(values).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
}

function fact(name, value) {
  return element("div", {}, element("dt", { text: name }), element("dd", { text: value }));
}

function showHeader(state) {
  const ready = byId("ready");
  ready.textContent = state.not_ready === null ? "ready" : `not ready: ${state.not_ready}`;
  ready.className = state.not_ready === null ? "pill good" : "pill bad";
  byId("facts").replaceChildren(
    fact("policy", `generation ${state.policy_generation}`),
    fact("up", span(state.uptime_seconds)),
    fact("version", state.version),
  );
}

function stateClass(endpoint) {
  if (endpoint.state === "available") return "good";
  return endpoint.state === "probation" || endpoint.state === "ramp" ? "warn" : "bad";
}

function endpointRow(endpoint) {
  const until = endpoint.until_seconds === null ? "" : ` ${span(endpoint.until_seconds)}`;
  const seen = endpoint.requests
    ? `${endpoint.failures} of ${endpoint.requests} failed, ${endpoint.in_flight} in flight`
    : `${endpoint.in_flight} in flight`;
  const why = endpoint.state !== "available" && endpoint.reason ? `${endpoint.reason} · ` : "";
  return element(
    "div",
    { class: "endpoint" },
    element("code", { text: endpoint.endpoint }),
    element("span", { class: `pill ${stateClass(endpoint)}`, text: endpoint.state.replace("_", " ") + until }),
    element("span", { class: "quiet", text: why + seen }),
  );
}

function serviceCard(service, series) {
  const numbers = element("dl", { class: "numbers" });
  if (series) {
    const attempts = sum(latest(series.attempts));
    const failed = attempts ? `${Math.round((100 * sum(latest(series.failures))) / attempts)} %` : "–";
    numbers.append(
      fact("answers/s", (sum(latest(series.requests)) / SMOOTH).toFixed(1)),
      fact("first packet", milliseconds(median(latest(series.first_packet_p50_ms)))),
      fact("failed", failed),
      fact("in flight", service.active_requests),
    );
  } else {
    numbers.append(fact("answers/s", "0.0"), fact("in flight", service.active_requests));
  }
  const title = element("h3", {}, element("span", { class: `dot ${hue(service.name)}` }));
  title.append(service.name);
  return element("div", { class: "card" }, title, numbers, ...service.endpoints.map(endpointRow));
}

// A chart's frame: returns where a second and a value lie.
function frame(svg, top, seconds, label) {
  const width = svg.clientWidth || 600;
  const height = svg.clientHeight || 190;
  const box = { left: 48, right: width - 6, top: 8, bottom: height - 20 };
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = (index) => box.left + ((box.right - box.left) * index) / Math.max(1, seconds - 1);
  const y = (value) => box.bottom - ((box.bottom - box.top) * value) / top;
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    const at = y(top * share);
    parts.push(drawn("line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at }));
    parts.push(drawn("text", { x: box.left - 6, y: at + 4, "text-anchor": "end" }, label(top * share)));
  }
  for (let ago = 0; ago < seconds; ago += 60) {
    const text = ago ? `−${ago / 60} min` : "now";
    parts.push(drawn("text", { x: x(seconds - 1 - ago), y: height - 4, "text-anchor": "end" }, text));
  }
  svg.replaceChildren(...parts);
  return { x, y };
}

// The next round number of the row 1, 2, 5, 10, 20, …
function roundUp(value) {
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * step).find((round) => round >= value * 0.999);
}

function drawLatency(series, seconds) {
  const svg = byId("latency");
  const values = Object.values(series).flatMap((one) => known(one.first_packet_p99_ms));
  const { x, y } = frame(svg, roundUp(Math.max(10, ...values)), seconds, milliseconds);
  for (const [name, one] of Object.entries(series)) {
    let path = "";
    let last = -10;
    one.first_packet_p50_ms.forEach((value, index) => {
      if (value === null) return;
      // A gap of a few seconds is thin traffic; a longer one is silence, and stays a gap.
      path += `${index - last > 5 ? "M" : "L"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      if (index - last > 5) path += "h0.1";
      last = index;
    });
    svg.append(drawn("path", { class: `median ${hue(name)}`, d: path }));
    one.first_packet_p99_ms.forEach((value, index) => {
      if (value !== null) svg.append(drawn("circle", { class: `high ${hue(name)}`, cx: x(index), cy: y(value), r: 1.6 }));
    });
  }
}

function drawShare(series, seconds) {
  const svg = byId("share");
  const names = Object.keys(series);
  const totals = Array.from({ length: seconds }, (_, i) => sum(names.map((name) => series[name].requests[i])));
  const { x, y } = frame(svg, roundUp(Math.max(1, ...totals)), seconds, (value) => String(value));
  let floor = new Array(seconds).fill(0);
  for (const name of names) {
    const ceiling = floor.map((value, i) => value + series[name].requests[i]);
    const along = ceiling.map((value, i) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}`);
    const back = floor.map((value, i) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}`).reverse();
    svg.append(drawn("path", { class: `area ${hue(name)}`, d: `M${along.join("L")}L${back.join("L")}Z` }));
    floor = ceiling;
  }
}

function eventRow(event) {
  const { time, event: what, ...rest } = event;
  const told = Object.entries(rest)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`);
  return element(
    "li",
    {},
    element("time", { text: String(time).slice(11, 23) }),
    element("span", { class: "what", text: String(what).replaceAll("_", " ") }),
    element("span", { class: "rest", text: told.join(" · ") }),
  );
}

function show(state) {
  state.services.forEach((service) => hue(service.name));
  showHeader(state);
  byId("services").replaceChildren(
    ...state.services.map((service) => serviceCard(service, state.series[service.name])),
  );
  const names = Object.keys(state.series);
  const seconds = names.length ? state.series[names[0]].requests.length : 180;
  drawLatency(state.series, seconds);
  drawShare(state.series, seconds);
  byId("legend").replaceChildren(
    ...names.map((name) => {
      const text = name === "none" ? "answered by nobody" : name;
      return element("li", {}, element("span", { class: `dot ${hue(name)}` }), text);
    }),
  );
  byId("events").replaceChildren(
    ...(state.events.length ? state.events.map(eventRow) : [element("li", { class: "quiet", text: "nothing yet" })]),
  );
}

async function poll() {
  try {
    const answer = await fetch("/api/state", { signal: AbortSignal.timeout(5000) });
    show(await answer.json());
  } catch {
    byId("ready").textContent = "not reachable";
    byId("ready").className = "pill bad";
  }
  setTimeout(poll, 1000);
}

poll();
