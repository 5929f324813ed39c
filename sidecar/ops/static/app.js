// Asks for /api/state once a second and shows it; for /api/policy when there is another generation. Changes nothing.
import { byId, element, fact, fill, hue, tell } from "./build.js";
import { listen, showCharts } from "./charts.js";
import { showPolicy } from "./policy.js";
import { showServices, showVerdict } from "./services.js";
import { countdown, eventTone, eventWords, timeOfDay } from "./words.js";

const PATIENCE = 5000;
const EVERY = 1000;
let policy = null;

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function showHeader(state) {
  const ready = byId("ready");
  tell(ready, state.not_ready === null ? "ready" : `not ready: ${state.not_ready}`);
  ready.className = `pill ${state.not_ready === null ? "good" : "bad"}`;
  fill(byId("facts"), [
    fact("policy", `generation ${state.policy_generation}`),
    fact("up", countdown(state.uptime_seconds)),
    fact("version", state.version),
  ]);
}

function eventRow(event) {
  return element(
    "li",
    { class: eventTone(event.event) },
    element("time", { datetime: event.time, text: timeOfDay(event.time) }),
    element("span", { class: "what", text: String(event.event).replaceAll("_", " ") }),
    element("span", { class: "rest", text: eventWords(event) }),
  );
}

function showEvents(events) {
  fill(byId("events"), events.length ? events.map(eventRow) : [element("li", { class: "quiet", text: "nothing yet" })]);
}

function show(state) {
  document.body.classList.remove("stale");
  state.services.forEach((service) => hue(service.name));
  showHeader(state);
  showVerdict(state);
  showServices(state);
  showCharts(state, policy);
  showEvents(state.events);
}

function showLost() {
  document.body.classList.add("stale"); // what is still on screen is old
  tell(byId("ready"), "not reachable");
  byId("ready").className = "pill bad";
}

async function poll() {
  try {
    const state = await ask("/api/state");
    if (policy?.generation !== state.policy_generation) {
      policy = await ask("/api/policy");
      state.services.forEach((service) => hue(service.name));
      showPolicy(policy);
    }
    show(state);
  } catch {
    showLost();
  }
  setTimeout(poll, EVERY);
}

listen();
poll();
