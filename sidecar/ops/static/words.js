// Numbers, states, reasons and events in words.

const STATES = {
  available: "in rotation",
  ejected: "ejected",
  probation: "on probation",
  ramp: "share growing",
  probe_failed: "probes fail",
  cooling: "asked to be left alone",
};
const REASONS = {
  consecutive_failures: "too many failures in a row",
  failure_percentage: "too many failures",
  probation_failed: "failed its probation",
  probation_passed: "passed its probation",
  ejection_ended: "its ejection is over",
  retry_after: "the service asked for it",
  retry_after_ended: "the time it asked for is over",
  manual: "by hand",
  overloaded: "at its limit",
  auth: "refused",
  no_credit: "no credit",
  rate_limited: "its rate limit is reached",
  model_not_found: "not there",
  loading: "still loading",
  ejected: "ejected",
};
const TONES = {
  endpoint_ejected: "bad",
  service_unavailable: "bad",
  policy_rejected: "bad",
  endpoint_returned: "good",
  service_recovered: "good",
  endpoint_probation: "warn",
  scope_cooled: "warn",
  scope_returned: "good",
  draining: "warn",
  restart_needed: "warn",
};

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${+(value / 1000).toFixed(value < 10000 ? 1 : 0)} s`;
}

export function span(seconds) {
  if (seconds < 1) return `${+(1000 * seconds).toFixed(1)} ms`;
  if (seconds < 10) return `${+seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${+(seconds / 60).toFixed(1)} min`;
  return `${+(seconds / 3600).toFixed(1)} h`;
}

// In whole seconds: digits that flicker say nothing.
export const countdown = (seconds) => span(seconds < 90 ? Math.max(1, Math.ceil(seconds)) : seconds);
export const stateWords = (state) => STATES[state] ?? state.replaceAll("_", " ");
// In rotation, but what comes now goes elsewhere: as many requests are in flight as its adaptive limit allows.
export const isAtItsLimit = (endpoint) => isUp(endpoint) && !endpoint.available;
export const isUp = (endpoint) => endpoint.state === "available" || endpoint.state === "ramp";
export const standing = (endpoint) => (isAtItsLimit(endpoint) ? "at its limit" : stateWords(endpoint.state));
export const reasonWords = (reason) => REASONS[reason] ?? reason;
export const eventTone = (event) => TONES[event] ?? "calm";

export function stateTone(endpoint) {
  if (endpoint.state === "available") return endpoint.available ? "good" : "warn";
  return endpoint.state === "probation" || endpoint.state === "ramp" ? "warn" : "bad";
}

export function timeOfDay(time) {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? String(time) : at.toLocaleTimeString([], { hour12: false });
}

export function eventWords(event) {
  const where = [event.service, event.endpoint].filter(Boolean).join(" ");
  const why = event.reason ? `: ${reasonWords(event.reason)}` : "";
  switch (event.event) {
    case "endpoint_ejected":
      return `${where}${event.until ? ` until ${timeOfDay(event.until)}` : " until it is restored"}${why}${ejectionFigures(event)}`;
    case "endpoint_probation":
      return `${where}: the next ${event.requests === 1 ? "request decides" : `${event.requests} requests decide`}`;
    case "service_unavailable":
      return `${where} has nobody in rotation${why}`;
    case "service_recovered":
      return `${where} is back`;
    case "probe_changed":
      return `${where} is ${event.healthy ? "healthy" : "unhealthy"}${why}`;
    case "policy_applied":
      return `generation ${event.generation} runs, from ${event.source}${event.comment ? `: ${event.comment}` : ""}`;
    case "policy_rejected":
      return `from ${event.source}: ${(event.problems ?? []).join("; ")}`;
    case "scope_cooled":
      return `${event.service}: ${event.scope} ${event.name} is left alone until ${timeOfDay(event.until)}${why}`;
    case "scope_returned":
      return `${event.service}: ${event.scope} ${event.name} may be used again`;
    case "draining":
      return `${event.in_flight} in flight`;
    default:
      return where ? where + why : String(event.reason ?? "");
  }
}

function ejectionFigures(event) {
  const seen = event.requests ? `, ${Math.round(event.failure_percentage)} % of ${event.requests} failed` : "";
  const times = event.ejection_multiplier > 1 ? `, ${event.ejection_multiplier}× the base time` : "";
  return seen + times + (event.enforced === false ? " (only reported)" : "");
}
