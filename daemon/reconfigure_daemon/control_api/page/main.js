// The page: asks the daemon while somebody looks, and shows what it says.

import { get, Refused, useToken } from "./api.js";
import { startControls, takeControls } from "./controls.js";
import { allDecisions, decisionsPage, forgetDecisions, startDecisions, takeDecisions } from "./decisions.js";
import { byId, element, fillTable, prose, say, show, tell } from "./elements.js";
import { startFront, takeFront } from "./front.js";
import { fillWindows, forgetWindows, startTime, takeMarks, takeWindows, wantedWindows } from "./time.js";
import { asked, figure, headline, modelName, moment, provenance, rates, seconds, share, value, withUnit } from "./words.js";

const STATUS_MS = 2_000;
const SLOWEST_MS = 15_000;
const FRONT_MS = 30_000;

const state = { pid: null, decision: null, windowAt: null, frontAt: 0, failures: 0, timer: null, asking: false, again: false, lost: null };

async function turn() {
  clearTimeout(state.timer);
  if (state.asking) {
    state.again = true;
    return;
  }
  state.asking = true;
  try {
    await look();
    state.failures = 0;
    state.lost = null;
    say("connection", "Live");
    byId("connection").dataset.state = "live";
  } catch (fault) {
    failed(fault);
  }
  state.asking = false;
  const wait = state.again ? 0 : Math.min(SLOWEST_MS, STATUS_MS * 2 ** state.failures);
  state.again = false;
  // Nobody asks while nobody looks, nor before the token that is missing.
  if (!document.hidden && byId("token-form").hidden) state.timer = setTimeout(turn, wait);
}

async function look() {
  const status = await get("/v1/status");
  if (status.pid !== state.pid) {
    forgetWindows();
    forgetDecisions();
    Object.assign(state, { pid: status.pid, decision: null, windowAt: null, frontAt: 0 });
  }
  showStatus(status);
  const last = status.last_decision;
  const decision = last === null ? null : `${last.id} ${last.outcome?.kind}`;
  if (decision !== state.decision) {
    takeDecisions((await get(decisionsPage())).decisions);
    state.decision = decision;
  }
  const { limit, after } = wantedWindows();
  const windows = (await get(`/v1/windows?limit=${limit}${after ? `&after=${after}` : ""}`)).windows;
  takeWindows(windows);
  takeMarks(allDecisions(), status.slo);
  if (windows.length && byId("windows-details").open) fillWindows();
  if (Date.now() - state.frontAt > FRONT_MS) {
    state.frontAt = Date.now();
    await lookAtFront();
  }
}

async function lookAtFront() {
  try {
    takeFront(await get("/v1/pareto"), null);
  } catch (fault) {
    if (!(fault instanceof Refused) || fault.status === 401) throw fault;
    takeFront(null, fault.status === 404 ? "This daemon learns nothing about other configurations." : sentence(fault.message));
  }
}

function failed(fault) {
  if (fault instanceof Refused && fault.status === 401) {
    if (byId("token-form").hidden) {
      show("token-form", true);
      show("content", false);
      byId("token").focus();
    } else {
      say("token-fault", "That is not the daemon’s token.");
    }
    say("connection", "Waiting for the token");
    byId("connection").dataset.state = "waiting";
    return;
  }
  state.failures += 1;
  state.lost ??= Date.now() / 1000;
  byId("connection").dataset.state = "lost";
  say("connection", `Not connected since ${moment(state.lost)}; what is shown is from before`);
}

function showStatus(status) {
  show("token-form", false);
  show("content", true);
  const { engine, window, energy, last_decision: last } = status;
  say("served", engine === null ? "Engine" : engineInWords(engine));
  say("headline", headline(status));
  document.title = `${headline(status)} – Reconfigure`;
  tell("why", status.action ? actionInWords(status) : last?.reason ?? status.engine_error ?? "");
  say("why-source", last && !status.action ? `Decided ${asked(last.source)} at ${moment(last.at)}` : "");
  notices(status);
  const rate = rates(window);
  say("load", withUnit(rate?.arrivals, "requests/s"));
  say("load-more", loadInWords(engine, window, rate));
  say("latency", window?.ttft_s.p99 === undefined ? "–" : seconds(window.ttft_s.p99));
  say("latency-more", latencyInWords(status));
  say("power", withUnit(energy.power_w, "W"));
  say("power-more", energy.power_w === null ? "not known" : provenance(energy.source));
  say("energy", withUnit(rate?.joules, "J/token"));
  say("energy-more", (rate?.joules ?? null) === null ? (rate?.tokens ? "not known" : "no tokens in the last window") : `prefill and idle time included; ${provenance(window.energy_source)}`);
  say("next-change", nextChange(status.next_change));
  say("about", `Reconfigure ${status.version}, process ${status.pid}, up ${seconds(status.uptime_s)}`);
  knobs(status);
  takeControls(status);
}

function loadInWords(engine, window, rate) {
  if (engine === null) return "no engine";
  const live = `${engine.live_requests} live`;
  return rate === null ? live : `${live}, ${figure(window.mean_waiting)} waiting; ${withUnit(rate.tokens, "tokens/s")} out`;
}

function engineInWords(engine) {
  if (engine.engine === "emulated") return "An emulated engine: its figures are no measurements";
  return `${modelName(engine.model)} on ${engine.engine} ${engine.engine_version}`;
}

function actionInWords(status) {
  const { kind, phase, since, detail } = status.action;
  const age = seconds(Math.max(0, Date.now() / 1000 - since));
  return `Under way for ${age}: ${kind}, ${phase.replaceAll("_", " ")}${detail ? ` (${detail})` : ""}.`;
}

function latencyInWords({ window, slo, slo_attainment: attainment }) {
  if (!window || window.ttft_s.p99 === null) return "no request in the last window";
  const limit = slo?.ttft_s ? `TTFT p99 of ${seconds(slo.ttft_s)} allowed` : "TTFT p99, no limit set";
  const tpot = `TPOT p99 ${seconds(window.tpot_s.p99)}${slo?.tpot_s ? ` of ${seconds(slo.tpot_s)}` : ""}`;
  const within = attainment === null ? "" : `; ${share(attainment)} within the SLO${slo ? `, ${share(slo.attainment)} wanted` : ""}`;
  return `${limit}; ${tpot}${within}`;
}

function nextChange(span) {
  if (!span) return "Nothing is scheduled.";
  const until = span.ends_at ? `, until ${moment(span.ends_at)}` : "";
  return `${capital(span.objective)} at ${moment(span.begins_at)}${until}, by schedule ${span.schedule}.`;
}

function notices(status) {
  const told = [...status.notices];
  if (status.engine === null && status.engine_error) told.unshift(status.engine_error);
  if (status.engine?.last_error) told.push(`Last error of the engine: ${status.engine.last_error}`);
  const list = byId("notices");
  const key = told.join("\n");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...told.map((text) => element("li", {}, ...prose(text))));
  list.hidden = told.length === 0;
}

function knobs({ target, enforced, engine }) {
  const table = byId("knobs-table");
  const hot = new Set(engine?.capabilities.hot_knobs ?? []);
  const rows = Object.entries(target).map(([name, wanted]) => {
    const actual = enforced === null ? "not known" : value(enforced[name]);
    const differs = enforced !== null && actual !== value(wanted) ? ` (${value(wanted)} is wanted)` : "";
    return [name, actual + differs, engine === null ? "–" : hot.has(name) ? "hot" : "cold"];
  });
  const key = JSON.stringify(rows);
  if (table.dataset.key === key) return;
  table.dataset.key = key;
  fillTable(table, "What the engine enforces", ["Knob", "Enforced", "Tier"], rows);
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const sentence = (text) => capital(text.endsWith(".") ? text : `${text}.`);

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value.trim());
  byId("token").value = "";
  say("token-fault", "");
  turn();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(state.timer) : turn()));
window.addEventListener("online", turn);
byId("windows-details").addEventListener("toggle", () => fillWindows());
startTime(() => {
  forgetWindows();
  turn();
});
startFront();
startControls(turn);
startDecisions(async (before) => takeDecisions((await get(decisionsPage(before))).decisions, true));
turn();
