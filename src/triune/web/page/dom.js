// Elements made of text alone: nothing that a server or a file says is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id. */
export const at = (id) => document.getElementById(id);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An HTML element with attributes (null and false are left out) and children, strings as text. */
export const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);

/** The same for SVG. */
export const draw = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

/** Put other children, strings as text, in the place of those there are. */
export function put(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A definition list's entries: pairs of a name and what is said of it; empty ones are left out. */
export function entries(list, pairs) {
  const known = pairs.filter(([, said]) => said !== null && said !== undefined && said !== "");
  put(list, ...known.flatMap(([name, said]) => [make("dt", {}, name), make("dd", {}, said)]));
}

/** A button that does something. */
export function button(text, does, attributes = {}) {
  const made = make("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", does);
  return made;
}
