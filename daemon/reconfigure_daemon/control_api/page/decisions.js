// The history in sentences, newest first.

import { byId, element, prose, show } from "./elements.js";
import { asked, moment, outcomeOf, seconds } from "./words.js";

const PAGE = 20;
const MOST = 400;

const state = { decisions: [], more: true };

export const decisionsPage = (before) => `/v1/decisions?limit=${before ? PAGE : 100}${before ? `&before=${before}` : ""}`;

export function allDecisions() {
  return state.decisions;
}

/** Newer ones take the place of what is known of them: an outcome may have come. */
export function takeDecisions(decisions, asMore = false) {
  const known = new Map([...state.decisions, ...decisions].map((decision) => [decision.id, decision]));
  state.decisions = [...known.values()].sort((one, other) => other.id - one.id).slice(0, MOST);
  if (asMore) state.more = decisions.length === PAGE;
  draw();
}

export function forgetDecisions() {
  state.decisions = [];
  state.more = true;
}

export function startDecisions(load) {
  byId("small-changes").addEventListener("change", draw);
  byId("earlier").addEventListener("click", () => load(state.decisions.at(-1)?.id));
}

function draw() {
  const withSmall = byId("small-changes").checked;
  const shown = state.decisions.filter((decision) => withSmall || decision.kind !== "adjust" || decision.source !== "daemon");
  byId("decisions").replaceChildren(...shown.map(item));
  show("earlier", state.more && state.decisions.length > 0 && state.decisions.length < MOST && state.decisions.at(-1).id > 1);
}

function item(decision) {
  const outcome = decision.outcome;
  const took = outcome && decision.kind === "redeploy" ? ` in ${seconds(outcome.duration_s)}` : "";
  const ended = element("span", { class: `outcome ${outcome?.kind ?? decision.kind}` }, outcomeOf(decision) + took);
  const head = element("p", { class: "when" },
    element("time", { datetime: new Date(decision.at * 1000).toISOString() }, moment(decision.at)),
    element("span", {}, asked(decision.source)), ended);
  const detail = outcome?.detail && outcome.kind !== "applied" ? element("p", { class: "detail" }, ...prose(outcome.detail)) : null;
  return element("li", { value: decision.id }, head, element("p", { class: "reason" }, ...prose(decision.reason)), detail);
}
