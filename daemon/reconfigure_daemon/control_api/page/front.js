// The Pareto front: what each configuration is expected to give and cost, how sure that is, and where the engine is.

import { byId, drawn, element, fillTable, show, tell } from "./elements.js";
import { ceiling } from "./strips.js";
import { assignments, figure, withUnit } from "./words.js";

const HEIGHT = 300;
const EDGE = { top: 12, right: 14, bottom: 40, left: 56 };

let latest = null;

export function startFront() {
  let width = 0;
  new ResizeObserver(() => {
    const now = byId("front").clientWidth;
    if (now !== width) {
      width = now;
      draw();
    }
  }).observe(byId("front"));
}

/** A front, or the reason why there is none. */
export function takeFront(front, reason) {
  latest = front && front.front.some(drawable) ? front : null;
  show("front-details", latest !== null);
  byId("front-words").className = latest === null ? "empty" : "";
  if (latest === null) {
    byId("front").replaceChildren();
    tell("front-words", reason ?? "Nothing has been learned yet about other configurations.");
    return;
  }
  tell("front-words", inWords(latest));
  fillTable(byId("front-table"), "Configurations of the front", ["Configuration", "Tokens/s", "from–to", "J per token", "from–to", "Measured"],
    latest.front.map((each) => [
      assignments(each.configuration), figure(each.throughput_tps?.median), interval(each.throughput_tps),
      figure(each.energy_per_output_token_j?.median), interval(each.energy_per_output_token_j),
      each.observations ? `${each.observations} times` : "not yet",
    ]));
  draw();
}

function inWords(front) {
  const best = [...front.front].filter(drawable).sort((a, b) => a.energy_per_output_token_j.median - b.energy_per_output_token_j.median)[0];
  const warning = front.warnings?.length ? ` Not to be trusted yet: ${front.warnings.join("; ")}.` : "";
  const now = drawable(front.enforced)
    ? ` The engine is at ${withUnit(front.enforced.energy_per_output_token_j.median, "J per token")}.` : "";
  return `${front.front.length} of ${front.candidates} configurations are beaten by no other; the most frugal one is expected at `
    + `${withUnit(best.energy_per_output_token_j.median, "J per token")}.${now} Bars hold 95 of 100 outcomes.${warning}`;
}

function drawable(each) {
  return Boolean(each && each.throughput_tps && each.energy_per_output_token_j);
}

function interval(estimate) {
  return estimate ? `${figure(estimate.low)}–${figure(estimate.high)}` : "–";
}

function draw() {
  const place = byId("front");
  const width = place.clientWidth;
  if (latest === null || width === 0) return;
  const front = latest.front.filter(drawable);
  const all = [...front, ...(drawable(latest.enforced) ? [latest.enforced] : [])];
  const trials = (latest.measured ?? []).map((trial) => trial.measured).filter((m) => m.throughput_tps && m.energy_per_output_token_j);
  const most = (of, measured) => ceiling(Math.max(...all.map((each) => of(each).high), ...trials.map((trial) => trial[measured])));
  const right = most((each) => each.throughput_tps, "throughput_tps");
  const top = most((each) => each.energy_per_output_token_j, "energy_per_output_token_j");
  const x = (given) => EDGE.left + (given / right) * (width - EDGE.left - EDGE.right);
  const y = (given) => EDGE.top + (1 - given / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const image = drawn("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": inWords(latest) });
  image.append(...axes(x, y, right, top, width));
  for (const trial of trials) image.append(drawn("circle", { class: "trial", cx: x(trial.throughput_tps), cy: y(trial.energy_per_output_token_j), r: 2 }));
  image.append(drawn("polyline", { class: "edge", points: [...front].sort((a, b) => a.throughput_tps.median - b.throughput_tps.median)
    .map((each) => `${x(each.throughput_tps.median)},${y(each.energy_per_output_token_j.median)}`).join(" ") }));
  for (const each of front) image.append(candidate(each, x, y, "candidate"));
  if (drawable(latest.enforced)) image.append(candidate(latest.enforced, x, y, "active"), label(latest.enforced, x, y, width));
  place.replaceChildren(element("figure", { class: "plot" }, image));
}

function axes(x, y, right, top, width) {
  const lines = [0, 0.5, 1].flatMap((part) => [
    drawn("line", { class: part ? "rule" : "base", x1: EDGE.left, x2: width - EDGE.right, y1: y(top * part), y2: y(top * part) }),
    drawn("text", { class: "tick", x: EDGE.left - 8, y: y(top * part) + 4, "text-anchor": "end" }, figure(top * part)),
    drawn("text", { class: "tick", x: x(right * part), y: HEIGHT - EDGE.bottom + 18, "text-anchor": part === 1 ? "end" : "middle" }, figure(right * part)),
  ]);
  return [...lines,
    drawn("text", { class: "axis", x: width - EDGE.right, y: HEIGHT - 4, "text-anchor": "end" }, "tokens per second, more is better"),
    drawn("text", { class: "axis", x: EDGE.left + 6, y: EDGE.top + 14 }, "joules per token, less is better")];
}

function candidate(each, x, y, kind) {
  const across = each.throughput_tps;
  const up = each.energy_per_output_token_j;
  const at = { cx: x(across.median), cy: y(up.median) };
  return drawn("g", { class: kind },
    drawn("title", {}, assignments(each.configuration)),
    drawn("line", { class: "sure", x1: x(across.low), x2: x(across.high), y1: at.cy, y2: at.cy }),
    drawn("line", { class: "sure", x1: at.cx, x2: at.cx, y1: y(up.low), y2: y(up.high) }),
    drawn("circle", { ...at, r: kind === "active" ? 7 : 4 }));
}

function label(each, x, y, width) {
  const at = x(each.throughput_tps.median);
  const left = at > width - 110;
  return drawn("text", { class: "here", x: at + (left ? -12 : 12), y: y(each.energy_per_output_token_j.median) - 10, "text-anchor": left ? "end" : "start" }, "in force now");
}
