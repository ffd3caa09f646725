// What was asked and got over time: windows from the store, laid out as strips, with a cursor to read them off.

import { byId, fillTable, say, show } from "./elements.js";
import { drawStrips, timeAt } from "./strips.js";
import { asked, clock, figure, moment, seconds, withUnit } from "./words.js";

const TABLE_ROWS = 30;
const MOST = 1000;

const state = { windows: [], decisions: [], slo: null, range: 7200, at: null };

export function wantedWindows() {
  return { limit: state.range > 7200 ? MOST : 300, after: state.windows.at(-1)?.id ?? 0 };
}

export function forgetWindows() {
  state.windows = [];
}

export function takeWindows(windows) {
  if (!windows.length) return;
  state.windows = [...state.windows, ...windows].slice(-MOST);
  draw();
}

export function takeMarks(decisions, slo) {
  state.decisions = decisions;
  state.slo = slo;
  draw();
}

export function startTime(onRange) {
  for (const choice of document.querySelectorAll("input[name=range]")) {
    choice.addEventListener("change", () => {
      state.range = Number(choice.value);
      state.at = null;
      draw();
      onRange();
    });
  }
  byId("cursor").addEventListener("input", (event) => {
    const shown = visible();
    const index = Number(event.target.value);
    state.at = index >= shown.length - 1 ? null : shown[index]?.at ?? null;
    draw();
  });
  const strips = byId("strips");
  strips.addEventListener("pointermove", (event) => {
    const image = event.target.closest("svg");
    if (!image || !state.windows.length) return;
    const box = image.getBoundingClientRect();
    readOff(timeAt(event.clientX - box.left, box.width, view()));
  });
  strips.addEventListener("pointerleave", () => {
    state.at = null;
    draw();
  });
  let width = 0;
  new ResizeObserver(() => {
    if (strips.clientWidth !== width) {
      width = strips.clientWidth;
      draw();
    }
  }).observe(strips);
}

function readOff(at) {
  const nearest = visible().reduce((best, window) => (best === null || Math.abs(window.at - at) < Math.abs(best.at - at) ? window : best), null);
  if (nearest !== null && nearest.at !== state.at) {
    state.at = nearest.at;
    draw();
  }
}

function visible() {
  const end = state.windows.at(-1)?.at ?? 0;
  return state.windows.filter((window) => window.at > end - state.range);
}

function view() {
  const shown = visible();
  const end = shown.at(-1).at;
  const start = Math.min(end - 300, Math.max(end - state.range, shown[0].at - shown[0].duration_s));
  const longest = 2.5 * Math.max(...shown.slice(-50).map((window) => window.duration_s));
  return { start, end, longest, width: byId("strips").clientWidth, cursor: state.at, marks: marks(start, end) };
}

/** Decisions that changed something, within the time shown; the engine's boot belongs to a cold one. */
function marks(start, end) {
  return state.decisions
    .filter((decision) => ["adjust", "redeploy", "explore"].includes(decision.kind) && decision.at >= start && decision.at <= end)
    .map((decision) => ({
      at: decision.outcome?.at ?? decision.at,
      tier: decision.changes.some((change) => change.tier === "cold") ? "cold" : "hot",
      ended: decision.outcome?.kind ?? "under-way",
      decision,
    }))
    .filter((mark) => mark.at <= end);
}

function draw() {
  const any = state.windows.length > 0;
  for (const id of ["strips", "cursor-row", "legend", "windows-details"]) show(id, any);
  show("time-empty", !any);
  if (!any || byId("strips").clientWidth === 0) return;
  const shown = visible();
  const index = state.at === null ? shown.length - 1 : Math.max(0, shown.findIndex((window) => window.at === state.at));
  const layout = view();
  drawStrips(byId("strips"), strips(shown, shown[index], layout), layout);
  const cursor = byId("cursor");
  cursor.max = String(shown.length - 1);
  cursor.value = String(index);
  cursor.setAttribute("aria-valuetext", inWords(shown[index]));
  say("cursor-time", state.at === null ? `${moment(shown[index].at)}, the latest` : moment(shown[index].at));
  if (byId("windows-details").open) fillWindows(shown);
}

export function fillWindows(shown = visible()) {
  const heads = ["Until", "Requests/s", "Tokens/s out", "TTFT p99", "TPOT p99", "Within the SLO", "Power", "J per token"];
  const rows = shown.slice(-TABLE_ROWS).reverse().map((window) => [
    moment(window.at), figure(window.arrival_rate_rps), figure(window.output_throughput_tps), seconds(window.ttft_s.p99),
    seconds(window.tpot_s.p99), window.slo_attainment === null ? "–" : `${figure(window.slo_attainment * 100)} %`,
    withUnit(window.mean_power_w, "W"), figure(window.energy_per_output_token_j),
  ]);
  fillTable(byId("windows-table"), "Windows of traffic, the latest first", heads, rows);
}

function inWords(window) {
  return `${clock(window.at)}: ${figure(window.arrival_rate_rps)} requests per second, TTFT ${seconds(window.ttft_s.p99)}, `
    + `TPOT ${seconds(window.tpot_s.p99)}, ${withUnit(window.mean_power_w, "watts")}, `
    + `${withUnit(window.energy_per_output_token_j, "joules per token")}`;
}

function strips(shown, read, layout) {
  const slo = state.slo ?? {};
  return [
    strip("load", "Requests/s", shown, read, layout, (w) => w.arrival_rate_rps, (v) => figure(v)),
    strip("ttft", "TTFT p50–p99", shown, read, layout, (w) => w.ttft_s.p99, seconds, { low: (w) => w.ttft_s.p50, limit: slo.ttft_s }),
    strip("tpot", "TPOT p50–p99", shown, read, layout, (w) => w.tpot_s.p99, seconds, { low: (w) => w.tpot_s.p50, limit: slo.tpot_s }),
    strip("power", "Power", shown, read, layout, (w) => w.mean_power_w, (v) => withUnit(v, "W")),
    strip("energy", "Energy/token", shown, read, layout, (w) => w.energy_per_output_token_j, (v) => withUnit(v, "J")),
  ];
}

function strip(id, name, shown, read, layout, high, told, { low = null, limit = null } = {}) {
  const points = shown.map((window) => ({ at: window.at, high: high(window), low: low === null ? undefined : low(window) }));
  const known = points.map((point) => point.high).filter((given) => given !== null && given !== undefined);
  const bound = limit ? `, limit ${told(limit)}` : "";
  const summary = known.length
    ? `${name} from ${clock(layout.start)} to ${clock(layout.end)}: lowest ${told(Math.min(...known))}, highest ${told(Math.max(...known))}, latest ${told(known.at(-1))}${bound}. ${switchesInWords(layout.marks)}`
    : `${name}: nothing known`;
  return { id, name, points, limit, summary, reading: told(high(read)), tick: (given) => (given === 0 ? "0" : told(given)) };
}

function switchesInWords(list) {
  if (!list.length) return "No switch.";
  return `Switches: ${list.slice(-5).map((mark) => `${clock(mark.at)} ${asked(mark.decision.source)}`).join(", ")}.`;
}
