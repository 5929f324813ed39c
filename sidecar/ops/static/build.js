// Making and changing elements. Text from outside only ever becomes textContent or an attribute's value.

const SVG = "http://www.w3.org/2000/svg";
const HUES = 6;
const hues = new Map();

export const byId = (id) => document.getElementById(id);

export function element(tag, options = {}, ...children) {
  const { text, ...attributes } = options;
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

export function drawn(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// What stays the same is left alone: a selection survives, and a screen reader is told of changes only.
export function fill(parent, nodes) {
  const fresh = [...nodes];
  fresh.forEach((node, place) => {
    const old = parent.children[place];
    if (!old) parent.append(node);
    else if (!old.isEqualNode(node)) old.replaceWith(node);
  });
  while (parent.children.length > fresh.length) parent.lastElementChild.remove();
}

export function tell(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function fact(name, value, options = {}) {
  return element("div", options, element("dt", { text: name }), element("dd", { text: value }));
}

// A service keeps its colour for as long as the page is open.
export function hue(service) {
  if (service === "none") return "none";
  if (!hues.has(service)) hues.set(service, `s${hues.size % HUES}`);
  return hues.get(service);
}

export function dot(service) {
  return element("span", { class: `dot ${hue(service)}`, "aria-hidden": "true" });
}
