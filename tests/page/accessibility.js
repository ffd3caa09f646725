// What is asked of a page's accessibility; each function returns what is wrong, or what there is.

const visible = (query) => [...document.querySelectorAll(query)].filter((each) => each.checkVisibility());
const textOf = (ids) => ids.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();

/** Everything that can be operated, with the name that a screen reader calls it by, and its size. */
function operable() {
  return visible("button, input, select, summary, a, [tabindex]").filter((each) => each.id !== "content").map((each) => {
    const labels = [...(each.labels ?? [])].map((label) => label.textContent).join(" ").trim();
    const named = each.getAttribute("aria-labelledby");
    const name = each.getAttribute("aria-label") || (named && textOf(named)) || labels || each.textContent.trim();
    const box = (each.labels?.[0]?.contains(each) ? each.labels[0] : each).getBoundingClientRect();
    return { html: each.outerHTML.slice(0, 90), name, width: box.width, height: box.height };
  });
}

/** Structure that assistive technology relies on; no colours. */
function faultsOfStructure() {
  const faults = [];
  const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) faults.push(`id ${id} is there twice`);
  if (!document.documentElement.lang) faults.push("no language");
  for (const role of ["header", "main", "footer", "h1"]) {
    if (visible(role).length !== 1) faults.push(`${visible(role).length} of ${role}`);
  }
  let last = 0;
  for (const heading of visible("h1, h2, h3")) {
    const level = Number(heading.tagName[1]);
    if (level > last + 1) faults.push(`${heading.textContent} skips a level`);
    last = level;
  }
  for (const region of visible("section, dialog")) {
    if (!textOf(region.getAttribute("aria-labelledby") ?? "")) faults.push(`${region.className} has no name`);
  }
  for (const drawing of visible("svg")) {
    const told = drawing.getAttribute("role") === "img" && drawing.getAttribute("aria-label");
    if (!told && drawing.getAttribute("aria-hidden") !== "true") faults.push("a drawing without words");
  }
  for (const table of visible("table")) {
    if (!table.caption?.textContent) faults.push(`${table.id} has no caption`);
    if ([...table.querySelectorAll("th")].some((head) => !head.scope)) faults.push(`${table.id} has a heading without scope`);
  }
  for (const attribute of ["aria-labelledby", "aria-describedby", "for"]) {
    for (const each of document.querySelectorAll(`[${attribute}]`)) {
      for (const id of each.getAttribute(attribute).split(" ")) {
        if (!document.getElementById(id)) faults.push(`${attribute}=${id} leads nowhere`);
      }
    }
  }
  for (const inline of document.querySelectorAll("[style], [onclick], style, script:not([src])")) {
    faults.push(`inline: ${inline.outerHTML.slice(0, 60)}`);
  }
  return faults;
}

/** Texts whose contrast with what is behind them is below WCAG's AA: 4.5, or 3 for large ones. */
function paleTexts() {
  const channel = (given) => (given / 255 <= 0.04045 ? given / 255 / 12.92 : ((given / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([red, green, blue]) => 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
  const parts = (colour) => (colour.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const behind = (each) => {
    for (let at = each; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const each = node.parentElement;
    if (!node.textContent.trim() || !each.checkVisibility() || each.closest(".unseen, .skip, noscript, option, title")) continue;
    const style = getComputedStyle(each);
    const colours = [light(parts(each.closest("svg") ? style.fill : style.color)), light(behind(each))];
    const ratio = (Math.max(...colours) + 0.05) / (Math.min(...colours) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) found.push(`${node.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
}
