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
  if (one.wait_for_retry_after_seconds) rules.push(`waits up to ${span(one.wait_for_retry_after_seconds)} where a 429 asks for it`);
  if (one.hedge) rules.push(`a second attempt beside a first that is ${span(one.hedge.after)} old, for ${one.hedge.budget} % of the requests`);
  if (one.commit === "complete") rules.push("holds answers back until they are whole");
  if (one.cut_last) rules.push("cuts the last service for lateness, too");
  one.rate_limit.forEach((limit) => rules.push(`limited to ${allowance(limit)}`));
  rules.push(`falls back on ${one.fallback_on.map((word) => word.replaceAll("_", " ")).join(", ")}`);
  row.append(order, element("span", { class: "quiet rules", text: rules.join(" · ") }));
  return row;
}

function allowance(limit) {
  const what = [limit.requests && `${limit.requests} requests`, limit.tokens && `${limit.tokens} tokens`].filter(Boolean);
  return `${what.join(" and ")} in ${span(limit.per)}${limit.by.length ? ` for each ${limit.by.join(" and ").replaceAll("_", " ")}` : ""}`;
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
  add("dialect", one.dialect === "openai" ? "" : one.dialect);
  add("first packet", firstPacket(one));
  add("timeouts", ["connect", "idle", "total", "response"].map((name) => `${name} ${span(timeouts[name])}`).join(", "));
  add("ejected at", ejection(health));
  add("out for", `${span(health.base_ejection_time)} × k, at most ${span(health.max_ejection_time)}`);
  add("probes", one.active_health && `${one.active_health.request ? `an inference at ${one.active_health.request}` : one.active_health.path} every ${span(one.active_health.interval)}`);
  add("picks by", picking(one));
  add("at most", [one.max_concurrency && `${one.max_concurrency} in flight`, ...one.rate_limit.map(allowance)].filter(Boolean).join(", "));
  add("in line", one.queue && `${one.queue.max_requests} requests for up to ${span(one.queue.timeout)}`);
  add("limit", one.adaptive_concurrency && `adapts to the load${one.adaptive_concurrency.queue_metrics ? ", reads the server's own queue" : ""}`);
  add("TLS", one.insecure_skip_verify && "certificates are not checked");
  return element("article", { class: "card", "aria-label": `policy of ${one.name}` }, element("h3", {}, dot(one.name), one.name), list);
}

function firstPacket(one) {
  const { first_packet: within, first_packet_per_1k_tokens: more, first_packet_soft: soft } = one.timeouts_seconds;
  const told = [`within ${span(within)}`];
  if (more) told.push(`${span(more)} more for each 1000 tokens`);
  if (soft) told.push(`late after ${span(soft)}`);
  if (one.first_packet_is) told.push(`that is: ${one.first_packet_is}`);
  return told.join(", ");
}

function picking(one) {
  const told = [one.load_balancing.replaceAll("_", " ")];
  if (one.load_balancing === "consistent_hash") told.push(`on ${one.hash_on.header || `${one.hash_on.prompt_prefix} bytes of the prompt`}`);
  const weights = Object.entries(one.weights);
  if (weights.length) told.push(`weights ${weights.map(([address, weight]) => `${address} ${weight}`).join(", ")}`);
  return told.join(", ");
}

function ejection(health) {
  const rules = [];
  if (health.failure_percentage_threshold) rules.push(`${health.failure_percentage_threshold} % failed of ${health.minimum_requests} or more in ${span(health.window)}`);
  if (health.consecutive_failures) rules.push(`${health.consecutive_failures} failures in a row`);
  return (rules.join(", or ") || "never") + (health.enforce ? "" : " (only reported)");
}
