// Two charts over the same seconds, with a mark where an endpoint went or came, and a line to read a second by.
import { byId, drawn, hue, tell } from "./build.js";
import { whoIs } from "./services.js";
import { milliseconds } from "./words.js";

const NARROW = 480;
const SHORTEST = 60; // seconds on the axis, however young the process is
let chosen = null; // index of the second that is read; null: none
let last = null; // what was drawn last, to draw it again when another second is chosen

const sum = (values) => values.reduce((total, value) => total + value, 0);
const known = (values) => values.filter((value) => value !== null);

// The next number that is round, and whose half is.
function roundUp(value) {
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10].map((times) => times * step).find((round) => round >= value * 0.999);
}

// A chart's frame: returns where a second and a value lie.
function frame(svg, top, data, label) {
  const width = svg.clientWidth || 600;
  const height = svg.clientHeight || 200;
  const box = { left: 54, right: width - 8, top: 10, bottom: height - 22 };
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = (index) => box.left + ((box.right - box.left) * index) / Math.max(1, data.seconds - 1);
  const y = (value) => box.bottom - ((box.bottom - box.top) * Math.min(value, top)) / top;
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    const at = y(top * share);
    parts.push(drawn("line", { class: "grid", x1: box.left, x2: box.right, y1: at, y2: at }));
    parts.push(drawn("text", { x: box.left - 8, y: at + 4, "text-anchor": "end" }, label(top * share)));
  }
  for (let ago = 0; ago < data.seconds; ago += width < NARROW ? 60 : 30) {
    const text = ago === 0 ? "now" : ago % 60 ? `−${ago} s` : `−${ago / 60} min`;
    parts.push(drawn("text", { x: x(data.seconds - 1 - ago), y: height - 4, "text-anchor": ago ? "middle" : "end" }, text));
  }
  for (const { ago, tone } of data.marks) {
    const at = x(data.seconds - 1 - ago);
    parts.push(drawn("line", { class: `event ${tone}`, x1: at, x2: at, y1: box.top, y2: box.bottom }));
    parts.push(drawn("circle", { class: `flag ${tone}`, cx: at, cy: box.top, r: 3.5 }));
  }
  if (chosen !== null) {
    parts.push(drawn("line", { class: "cursor", x1: x(chosen), x2: x(chosen), y1: box.top, y2: box.bottom }));
  }
  svg.replaceChildren(...parts);
  svg.dataset.left = box.left;
  svg.dataset.right = box.right;
  return { x, y };
}

function drawLatency(svg, data) {
  const slow = Object.values(data.series).flatMap((one) => known(one.first_packet_p99_ms));
  const timeouts = Object.entries(data.timeouts).filter(([name]) => data.series[name]);
  const worst = Math.max(10, ...slow);
  const near = timeouts.filter(([, value]) => value <= 3 * worst); // a far one would flatten everything else
  const { x, y } = frame(svg, roundUp(Math.max(worst, ...near.map(([, value]) => value * 1.05))), data, milliseconds);
  for (const [name, value] of near) {
    svg.append(drawn("line", { class: `timeout ${hue(name)}`, x1: x(0), x2: x(data.seconds - 1), y1: y(value), y2: y(value) }));
  }
  for (const [name, one] of Object.entries(data.series)) {
    one.first_packet_p99_ms.forEach((value, index) => {
      if (value !== null) svg.append(drawn("circle", { class: `high ${hue(name)}`, cx: x(index), cy: y(value), r: 1.8 }));
    });
    svg.append(drawn("path", { class: `median ${hue(name)}`, d: medianPath(one.first_packet_p50_ms, x, y) }));
  }
}

// A gap of a few seconds is thin traffic; a longer one is silence, and stays a gap.
function medianPath(values, x, y) {
  let path = "";
  let before = -10;
  values.forEach((value, index) => {
    if (value === null) return;
    path += `${index - before > 5 ? "M" : "L"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    if (index - before > 5) path += "h0.1";
    before = index;
  });
  return path;
}

function drawShare(svg, data) {
  const all = Object.entries(data.series).filter(([, one]) => sum(one.requests) > 0);
  const totals = Array.from({ length: data.seconds }, (_, index) => sum(all.map(([, one]) => one.requests[index])));
  const { x, y } = frame(svg, roundUp(Math.max(2, ...totals)), data, (value) => String(value));
  let floor = new Array(data.seconds).fill(0);
  for (const [name, one] of all) {
    const ceiling = floor.map((value, index) => value + one.requests[index]);
    const along = ceiling.map((value, index) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
    const back = floor.map((value, index) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`).reverse();
    svg.insertBefore(drawn("path", { class: `area ${hue(name)}`, d: `M${along.join("L")}L${back.join("L")}Z` }), svg.querySelector(".event, .cursor"));
    floor = ceiling;
  }
}

// What is read at a second, or over the newest ones when none is chosen.
function reading(data, field, unit) {
  return Object.entries(data.series)
    .map(([name, one]) => [name, chosen === null ? known(one[field]).at(-1) : one[field][chosen]])
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${whoIs(name)} ${unit(value)}`)
    .join(" · ");
}

function draw() {
  if (!last) return;
  const data = last;
  drawLatency(byId("latency"), data);
  drawShare(byId("share"), data);
  const ago = chosen === null ? null : data.seconds - 1 - chosen;
  const when = ago === null ? "" : `${ago ? `${ago} s ago` : "now"}: `;
  const latency = reading(data, "first_packet_p50_ms", milliseconds);
  const share = reading(data, "requests", (value) => `${value}/s`);
  tell(byId("latency-at"), when && when + (latency || "nothing"));
  tell(byId("share-at"), when && when + (share || "nothing"));
  byId("latency").setAttribute("aria-label", `First-packet time by service over the last minutes; latest medians: ${latency || "none"}`);
  byId("share").setAttribute("aria-label", `Answers a second by service over the last minutes; latest: ${share || "none"}`);
}

export function showCharts(state, policy) {
  const timeouts = (policy?.services ?? []).map((one) => [one.name, one.timeouts_seconds.first_packet * 1000]);
  const seconds = Math.max(SHORTEST, Math.min(longest(state.series), Math.ceil(state.uptime_seconds)));
  last = { series: newest(state.series, seconds), seconds, timeouts: Object.fromEntries(timeouts), marks: marks(state, seconds) };
  draw();
}

const longest = (series) => Math.max(0, ...Object.values(series).map((one) => one.requests.length));

function newest(series, seconds) {
  const columns = (one) => Object.entries(one).map(([field, values]) => [field, values.slice(-seconds)]);
  return Object.fromEntries(Object.entries(series).map(([name, one]) => [name, Object.fromEntries(columns(one))]));
}

function marks(state, seconds) {
  const tones = { endpoint_ejected: "bad", endpoint_returned: "good" };
  const now = Date.parse(state.time);
  return state.events
    .filter((event) => tones[event.event])
    .map((event) => ({ ago: (now - Date.parse(event.time)) / 1000, tone: tones[event.event] }))
    .filter(({ ago }) => ago >= 0 && ago < seconds);
}

function choose(index) {
  chosen = index === null ? null : Math.max(0, Math.min((last?.seconds ?? SHORTEST) - 1, index));
  draw();
}

export function listen() {
  for (const svg of [byId("latency"), byId("share")]) {
    svg.addEventListener("pointermove", (event) => {
      const { left, right } = svg.dataset;
      const share = (event.offsetX - left) / (right - left);
      choose(Math.round(share * ((last?.seconds ?? SHORTEST) - 1)));
    });
    svg.addEventListener("pointerleave", () => choose(null));
    svg.addEventListener("blur", () => choose(null));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") choose(null);
      if (!step) return;
      event.preventDefault();
      choose((chosen ?? last?.seconds ?? SHORTEST) + step);
    });
  }
  addEventListener("resize", draw);
}
