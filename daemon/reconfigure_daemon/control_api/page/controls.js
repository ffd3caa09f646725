// What an operator can ask here. Whatever moves the engine is shown as a plan first; nothing happens before a yes.

import { intend, Refused } from "./api.js";
import { byId, element, fillTable, prose, say, tell } from "./elements.js";
import { outcomeOf, seconds, value, withUnit } from "./words.js";

let shownObjective = null;
let paused = false;
let touched = false;

/** What holds now; a choice that somebody has begun to make is left alone. */
export function takeControls(status) {
  paused = status.paused;
  say("pause", paused ? "Resume automatic changes" : "Pause automatic changes");
  if (shownObjective !== status.objective || !touched) {
    const choice = document.querySelector(`input[name=objective][value=${status.objective}]`);
    if (!touched) choice.checked = true;
    shownObjective = status.objective;
  }
}

export function startControls(onChange) {
  const form = byId("objective-form");
  form.addEventListener("change", () => (touched = true));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const lasting = Number(byId("lasting").value);
    const request = { kind: "objective", objective: form.elements.objective.value };
    review("Change the objective", lasting ? { ...request, expires_in_s: lasting } : request, onChange);
  });
  byId("rollback").addEventListener("click", () => review("Go back to the configuration before", { kind: "rollback" }, onChange));
  byId("pause").addEventListener("click", () => atOnce({ kind: paused ? "resume" : "pause" }, onChange));
}

async function atOnce(request, onChange) {
  tell("told", "");
  try {
    const result = await intend(request);
    tell("told", result.decision.reason);
  } catch (fault) {
    tell("told", inWords(fault));
  }
  onChange();
}

async function review(title, request, onChange) {
  tell("told", "Asking what it would do");
  let plan;
  try {
    plan = (await intend({ ...request, dry_run: true })).plan;
  } catch (fault) {
    tell("told", inWords(fault));
    return;
  }
  tell("told", "");
  open(title, plan, request, onChange);
}

function open(title, plan, request, onChange) {
  const dialog = byId("plan");
  const [go, leave] = [byId("plan-go"), byId("plan-leave")];
  say("plan-title", title);
  tell("plan-outcome", "");
  byId("plan-steps").replaceChildren();
  byId("plan-body").replaceChildren(...planned(plan));
  say("plan-leave", "Leave it");
  go.hidden = false;
  go.disabled = false;
  go.onclick = () => carryOut(request, onChange);
  leave.onclick = () => dialog.close();
  dialog.onclose = () => {
    touched = false;
    onChange();
  };
  dialog.showModal();
  go.focus();
}

async function carryOut(request, onChange) {
  const [go, steps] = [byId("plan-go"), byId("plan-steps")];
  go.disabled = true;
  tell("plan-outcome", "Under way; it goes on if you leave this page.");
  const step = (progress) => {
    const words = `${progress.phase.replaceAll("_", " ")}, after ${seconds(progress.elapsed_s)}`;
    steps.append(element("li", {}, progress.detail ? `${words}: ${progress.detail}` : words));
  };
  try {
    const { decision } = await intend(request, step);
    const detail = decision.outcome ? ` ${decision.outcome.detail}` : "";
    tell("plan-outcome", `It is done: ${outcomeOf(decision)}.${detail}`);
  } catch (fault) {
    tell("plan-outcome", inWords(fault));
  }
  go.hidden = true;
  say("plan-leave", "Close");
  byId("plan-leave").focus();
  onChange();
}

function planned(plan) {
  if (plan === null) return [element("p", {}, "Nothing in the engine changes.")];
  const parts = plan.sentences.map((sentence) => element("p", {}, ...prose(sentence)));
  if (plan.changes.length) {
    const table = element("table", {});
    fillTable(table, "Changes", ["Knob", "From", "To", "How"], plan.changes.map((change) => [
      change.name, value(change.before), value(change.after), change.tier === "hot" ? "in the running core" : "in a new core",
    ]));
    parts.unshift(element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Changes as a table" }, table));
  }
  if (plan.mode !== null) parts.push(element("p", { class: "cost" }, cost(plan)));
  return parts;
}

function cost(plan) {
  const parts = [];
  if (plan.expected_duration_s !== null) parts.push(`${seconds(plan.expected_duration_s)} until it serves`);
  if (plan.expected_stall_s !== null) parts.push(`a pause of ${seconds(plan.expected_stall_s)} in each stream`);
  if (plan.expected_energy_j !== null) parts.push(withUnit(plan.expected_energy_j, "J"));
  return `Expected cost: ${parts.length ? parts.join(", ") : "not known"} (${plan.basis}).`;
}

function inWords(fault) {
  return fault instanceof Refused ? `Not done: ${fault.message}` : "The daemon cannot be reached; nothing is known of what became of it.";
}
