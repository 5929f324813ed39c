// The headline, who answers now, and a card for each service.
import { byId, dot, element, fact, fill, hue, tell } from "./build.js";
import { countdown, isAtItsLimit, isUp, milliseconds, reasonWords, standing, stateTone, stateWords } from "./words.js";

const SMOOTH = 10; // seconds that the figures are taken over

const sum = (values) => values.reduce((total, value) => total + value, 0);
const latest = (values) => values.slice(-SMOOTH);

function median(values) {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
}

export function showVerdict(state) {
  const all = Object.entries(state.series).map(([name, one]) => [name, sum(latest(one.requests))]);
  const answers = all.filter(([, count]) => count > 0);
  const [tone, words] = verdict(state, answers);
  byId("verdict").className = `verdict ${tone}`;
  tell(byId("headline"), words);
  showShares(answers);
}

function verdict(state, answers) {
  const endpoints = state.services.flatMap((service) =>
    service.endpoints.map((endpoint) => ({ service: service.name, ...endpoint })),
  );
  const out = endpoints.filter((endpoint) => !isUp(endpoint));
  const down = state.services.filter((service) => !service.endpoints.some(isUp)).map((service) => service.name);
  if (down.length && down.length === state.services.length) {
    return ["bad", "No service has an endpoint in rotation: the one due back first is tried"];
  }
  if (down.length) {
    const first = out.find((endpoint) => endpoint.service === down[0]);
    const proving = first?.state === "probation";
    const why = first ? [proving ? "" : stateWords(first.state), reasonWords(first.reason)].filter(Boolean).join(", ") : "it has no endpoint";
    const instead = answers.map(([name]) => name).filter((name) => name !== "none" && !down.includes(name));
    const told = `${down.join(", ")} ${proving ? "on probation" : "out of rotation"}: ${why}`;
    return [proving ? "warn" : "bad", `${told}${instead.length ? `. ${instead.join(", ")} answers` : ""}`];
  }
  if (out.length) return ["warn", `${out.length} of ${endpoints.length} endpoints out of rotation`];
  const alone = state.services.flatMap((service) => service.left_alone.map((one) => `${service.name}: ${leftAlone(one)}`));
  if (alone.length) return ["warn", alone.join("; ")];
  const full = state.services.filter((service) => service.endpoints.length && service.endpoints.every(isAtItsLimit));
  if (full.length) {
    return ["warn", `${full.map((service) => service.name).join(", ")} at its limit: what is over it goes to the next service`];
  }
  const growing = endpoints.filter((endpoint) => endpoint.state === "ramp").map((endpoint) => endpoint.service);
  if (growing.length) return ["warn", `${growing.join(", ")} is coming back: its share grows`];
  return ["good", `All endpoints in rotation (${endpoints.length})`];
}

function showShares(answers) {
  const all = sum(answers.map(([, count]) => count));
  const bars = answers.map(([name, count]) => {
    const bar = element("span", { class: hue(name) });
    bar.style.flexGrow = count; // by the object model: a style attribute would be against the page's own policy
    return bar;
  });
  byId("now").replaceChildren(...bars);
  const parts = answers.map(([name, count]) => `${whoIs(name)} ${Math.round((100 * count) / all)} %`);
  byId("now").setAttribute("aria-label", parts.length ? `Answers of the last ${SMOOTH} seconds: ${parts.join(", ")}` : "No answers yet");
  fill(
    byId("legend"),
    answers.length
      ? answers.map(([name], place) => element("li", {}, dot(name), parts[place]))
      : [element("li", { class: "quiet", text: "no answers in the last 10 seconds" })],
  );
}

export const whoIs = (name) => (name === "none" ? "nobody" : name);

export function showServices(state) {
  fill(
    byId("services"),
    state.services.map((service) => card(service, state.series[service.name])),
  );
}

function card(service, series) {
  const up = service.endpoints.filter(isUp).length;
  const proving = service.endpoints.some((endpoint) => endpoint.state === "probation");
  const held = service.endpoints.some(isAtItsLimit) || service.left_alone.length > 0;
  const tone = up === service.endpoints.length && !held ? "good" : up || proving ? "warn" : "bad";
  const title = element("h3", {}, dot(service.name), service.name);
  return element(
    "article",
    { class: `card ${tone}`, "aria-label": `service ${service.name}` },
    title,
    numbers(service, series),
    ...service.endpoints.map(endpointRow),
    ...service.left_alone.map(scopeRow),
  );
}

function numbers(service, series) {
  const attempts = series ? sum(latest(series.attempts)) : 0;
  const failed = attempts ? Math.round((100 * sum(latest(series.failures))) / attempts) : null;
  return element(
    "dl",
    { class: "numbers" },
    fact("answers/s", series ? (sum(latest(series.requests)) / SMOOTH).toFixed(1) : "0.0"),
    fact("first packet", milliseconds(series ? median(latest(series.first_packet_p50_ms)) : null)),
    fact("failed", failed === null ? "–" : `${failed} %`, failed ? { class: "failing" } : {}),
    fact("in flight", service.active_requests),
  );
}

const leftAlone = (one) => `${one.scope} ${one.name} is left alone, ${reasonWords(one.reason)}`;

function scopeRow(one) {
  return element(
    "div",
    { class: "endpoint" },
    element("code", { text: `${one.scope} ${one.name}` }),
    element("span", { class: "pill warn", text: `left alone, ${countdown(one.until_seconds)}` }),
    element("span", { class: "quiet", text: reasonWords(one.reason) }),
  );
}

function endpointRow(endpoint) {
  const left = endpoint.until_seconds === null ? "" : `, ${countdown(endpoint.until_seconds)}`;
  const limit = endpoint.concurrency_limit === null ? "" : ` of at most ${Math.max(1, Math.floor(endpoint.concurrency_limit))}`;
  const flying = `${endpoint.in_flight}${endpoint.ghosts ? ` + ${endpoint.ghosts} given up` : ""} in flight${limit}`;
  const seen = endpoint.requests ? `${endpoint.failures} of ${endpoint.requests} failed, ${flying}` : flying;
  const why = endpoint.reason && !isAtItsLimit(endpoint) ? `${reasonWords(endpoint.reason)} · ` : "";
  return element(
    "div",
    { class: "endpoint" },
    element("code", { text: endpoint.endpoint }),
    element("span", { class: `pill ${stateTone(endpoint)}`, "data-state": endpoint.state, text: standing(endpoint) + left }),
    element("span", { class: "quiet", text: why + seen }),
  );
}
