// Elements without markup strings: text stays text, whatever an engine or an operator wrote.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Change a text only if it is another one, so that nothing is announced, selected or painted twice. */
export function say(id, text) {
  const found = byId(id);
  if (found.textContent !== text) found.textContent = text;
}

/** Like `say`, for sentences in which `words` stand for what is typed. */
export function tell(id, sentence) {
  const place = byId(id);
  if (place.dataset.sentence === sentence) return;
  place.dataset.sentence = sentence;
  place.replaceChildren(...prose(sentence));
}

export function prose(sentence) {
  return sentence.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

export function show(id, visible) {
  byId(id).hidden = !visible;
}

/** A table with a head; the first cell of each row is its heading. */
export function fillTable(table, caption, heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...others]) =>
    element("tr", {}, element("th", { scope: "row" }, first), ...others.map((cell) => element("td", {}, cell))));
  table.replaceChildren(
    element("caption", { class: "unseen" }, caption), element("thead", {}, head), element("tbody", {}, ...body));
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
