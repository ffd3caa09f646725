// The strip chart: one row per quantity over the same time, with every switch marked through all of them.

import { drawn, element } from "./elements.js";
import { clock } from "./words.js";

const HEIGHT = 76;
const AXIS = 18;
const TOP = 8;
const LEFT = 56;
const RIGHT = 6;

/** Draw the strips into their places; called with new data and with a new width. */
export function drawStrips(container, strips, view) {
  const rows = strips.map((strip, index) => row(strip, view, index === strips.length - 1));
  container.replaceChildren(...rows);
}

/** Where a pixel lies in time, for a pointer over any strip. */
export function timeAt(x, width, view) {
  const within = Math.min(1, Math.max(0, (x - LEFT) / (width - LEFT - RIGHT)));
  return view.start + within * (view.end - view.start);
}

function row(strip, view, isLast) {
  const id = `strip-${strip.id}`;
  const figure = element("figure", { class: "strip", "aria-labelledby": `${id}-name` });
  figure.append(
    element("figcaption", {},
      element("span", { class: "name", id: `${id}-name` }, strip.name),
      element("span", { class: "reading", id: `${id}-reading` }, strip.reading)),
    plot(strip, view, isLast));
  return figure;
}

function plot(strip, view, isLast) {
  const { width } = view;
  const height = HEIGHT + (isLast ? AXIS : 0);
  const top = ceiling(Math.max(strip.limit ?? 0, ...strip.points.map((point) => point.high ?? 0)));
  const x = (at) => LEFT + ((at - view.start) / (view.end - view.start)) * (width - LEFT - RIGHT);
  const y = (given) => TOP + (1 - given / top) * (HEIGHT - TOP - 1);
  const image = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": strip.summary });
  image.append(...grid(strip, top, y, width));
  for (const mark of view.marks) image.append(switchMark(mark, x(mark.at)));
  for (const run of runs(strip.points, view.longest)) image.append(...trace(run, x, y));
  if (strip.limit) image.append(...limit(strip, y, width));
  if (view.cursor !== null) image.append(drawn("line", { class: "at", x1: x(view.cursor), x2: x(view.cursor), y1: TOP - 4, y2: HEIGHT }));
  if (isLast) image.append(...times(view, x));
  return image;
}

function grid(strip, top, y, width) {
  return [0, top].flatMap((given) => [
    drawn("line", { class: given ? "rule" : "base", x1: LEFT, x2: width - RIGHT, y1: y(given), y2: y(given) }),
    drawn("text", { class: "tick", x: LEFT - 8, y: y(given) + (given ? 8 : 0), "text-anchor": "end" }, strip.tick(given)),
  ]);
}

function limit(strip, y, width) {
  return [drawn("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y(strip.limit), y2: y(strip.limit) })];
}

function switchMark(mark, x) {
  return drawn("line", { class: `switch ${mark.tier} ${mark.ended}`, x1: x, x2: x, y1: 0, y2: HEIGHT });
}

/** A line over each unbroken run, with the band down to the median where there is one. */
function trace(run, x, y) {
  const drawing = [];
  const line = run.map((point) => `${x(point.at).toFixed(1)},${y(point.high).toFixed(1)}`);
  if (run.every((point) => point.low !== undefined && point.low !== null)) {
    const back = run.map((point) => `${x(point.at).toFixed(1)},${y(point.low).toFixed(1)}`).reverse();
    drawing.push(drawn("polygon", { class: "band", points: [...line, ...back].join(" ") }));
  }
  drawing.push(run.length > 1
    ? drawn("polyline", { class: "trace", points: line.join(" ") })
    : drawn("circle", { class: "dot", cx: x(run[0].at), cy: y(run[0].high), r: 2 }));
  return drawing;
}

/** Unbroken stretches: a daemon that was down, or a window without requests, leaves a gap and no line over it. */
function runs(points, longest) {
  const found = [];
  let last = null;
  for (const point of points) {
    if (point.high === null || point.high === undefined) {
      last = null;
      continue;
    }
    if (last === null || point.at - last.at > longest) found.push([]);
    found.at(-1).push(point);
    last = point;
  }
  return found;
}

function times(view, x) {
  const step = [60, 300, 600, 1800, 3600, 7200, 14400].find((each) => (view.end - view.start) / each <= view.width / 90) ?? 28800;
  const zone = new Date(view.end * 1000).getTimezoneOffset() * 60;
  const ticks = [];
  for (let at = Math.ceil((view.start - zone) / step) * step + zone; at <= view.end; at += step) {
    if (x(at) < LEFT + 18 || x(at) > view.width - 22) continue;
    ticks.push(drawn("text", { class: "tick", x: x(at), y: HEIGHT + AXIS - 3, "text-anchor": "middle" }, clock(at)));
  }
  return ticks;
}

/** The next 1, 2 or 5 of a power of ten, so that the axis ends in a number that people use. */
export function ceiling(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((end) => end >= most * 0.999);
}
