// The running policy: routes with their services in order, and every setting of a service.
import { byId, dot, element, fact, fill, tell } from "./build.js";
import { span } from "./words.js";

export function showPolicy(policy) {
  tell(byId("generation"), `generation ${policy.generation}`);
  const services = policy.services.map(service);
  fill(byId("policy"), [
    element("ul", { class: "routes", "aria-label": "Routes, in order" }, ...policy.routes.map(route)),
    element("div", { class: "cards" }, ...services),
  ]);
}

function route(one) {
  const row = element("li", {}, element("code", { text: one.path_prefix || "/" }));
  const when = [one.models.length ? `model ${one.models.join(", ")}` : "", one.headers.length ? `header ${one.headers.join(", ")}` : ""];
  row.append(element("span", { class: "quiet", text: when.filter(Boolean).join("; ") || "any model" }));
  const order = element("span", { class: "order" });
  one.services.forEach((name, place) => {
    if (place) order.append(element("span", { class: "quiet", text: "then" }));
    order.append(element("span", { class: "step" }, dot(name), name));
  });
  const rules = [`${one.max_attempts} attempts at most`, `${one.retries_per_service} again in a service`];
  if (one.deadline_seconds) rules.push(`${span(one.deadline_seconds)} over all`);
  rules.push(`falls back on ${one.fallback_on.map((word) => word.replaceAll("_", " ")).join(", ")}`);
  row.append(order, element("span", { class: "quiet rules", text: rules.join(" · ") }));
  return row;
}

function service(one) {
  const timeouts = one.timeouts_seconds;
  const health = one.passive_health;
  const list = element("dl", { class: "settings" });
  const add = (name, value) => value && list.append(fact(name, value));
  add("url", one.url);
  add("endpoints", one.endpoints.join(", ") || "every address of the url's host");
  add("model", one.model || Object.entries(one.models).map(([from, to]) => `${from} → ${to}`).join(", ") || "as asked");
  add("credential", one.credentials.join(", ") || "the app's own");
  add("headers", [...one.headers_set.map((name) => `sets ${name}`), ...one.headers_removed.map((name) => `removes ${name}`)].join(", "));
  add("first packet", `within ${span(timeouts.first_packet)}`);
  add("timeouts", ["connect", "idle", "total", "response"].map((name) => `${name} ${span(timeouts[name])}`).join(", "));
  add("ejected at", ejection(health));
  add("out for", `${span(health.base_ejection_time)} × k, at most ${span(health.max_ejection_time)}`);
  add("probes", one.active_health && `${one.active_health.path} every ${span(one.active_health.interval)}`);
  add("picks by", one.load_balancing.replaceAll("_", " "));
  add("at most", one.max_concurrency && `${one.max_concurrency} in flight`);
  add("limit", one.adaptive_concurrency && "adapts to the load");
  add("TLS", one.insecure_skip_verify && "certificates are not checked");
  return element("article", { class: "card", "aria-label": `policy of ${one.name}` }, element("h3", {}, dot(one.name), one.name), list);
}

function ejection(health) {
  const rules = [];
  if (health.failure_percentage_threshold) rules.push(`${health.failure_percentage_threshold} % failed of ${health.minimum_requests} or more in ${span(health.window)}`);
  if (health.consecutive_failures) rules.push(`${health.consecutive_failures} failures in a row`);
  return (rules.join(", or ") || "never") + (health.enforce ? "" : " (only reported)");
}
