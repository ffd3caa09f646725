// Numbers, times and states in words, as the command line writes them.

const UNKNOWN = "–";

export function figure(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  return value.toLocaleString("en", { maximumFractionDigits: Math.max(0, digits - 1 - size), useGrouping: false });
}

export function withUnit(value, unit, digits = 3) {
  return value === null || value === undefined ? UNKNOWN : `${figure(value, digits)} ${unit}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 0.9995) return `${figure(value * 1000)} ms`;
  if (value < 59.5) return `${figure(value)} s`;
  const minutes = Math.round(value / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.round(hours / 24)} days`;
}

export function share(value, digits = 3) {
  return value === null || value === undefined ? UNKNOWN : `${figure(value * 100, digits)} %`;
}

export function clock(at, withSeconds = false) {
  const options = { hour: "2-digit", minute: "2-digit", hour12: false, ...(withSeconds && { second: "2-digit" }) };
  return new Date(at * 1000).toLocaleTimeString("en-GB", options);
}

/** The time, with its day where that is another one than today's. */
export function moment(at) {
  const when = new Date(at * 1000);
  const day = when.toDateString() === new Date().toDateString() ? "" : when.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" }) + ", ";
  return day + clock(at);
}

export function value(given) {
  return given === undefined || given === null ? UNKNOWN : String(given);
}

export function assignments(configuration) {
  return Object.entries(configuration).map(([name, given]) => `${name}=${value(given)}`).join(" ");
}

const PURPOSES = { energy: "for least energy", throughput: "for most throughput", balanced: "between energy and throughput" };
const PHASES = { booting: "Booting", serving: "Serving", switching: "Switching", recovering: "Recovering", stopping: "Stopping", failed: "Failed" };

/** What runs now, in one sentence. */
export function headline(status) {
  if (status.engine === null) return "No engine answers";
  const until = status.objective_until ? `, until ${moment(status.objective_until)}` : "";
  const paused = status.paused ? "; automatic changes are paused" : "";
  return `${PHASES[status.engine.phase]} ${PURPOSES[status.objective]}${until}${paused}`;
}

/** A window's figures as the daemon's own reports count them; null where there is none. */
export function rates(window) {
  if (!window || !window.duration_s) return null;
  return {
    arrivals: window.arrivals / window.duration_s,
    tokens: window.output_tokens / window.duration_s,
    joules: window.energy_j !== null && window.output_tokens ? window.energy_j / window.output_tokens : null,
  };
}

export function modelName(path) {
  return path.split("/").filter(Boolean).pop() ?? path;
}

/** Where a figure of joules comes from; an estimate is never passed off as a measurement. */
export function provenance(source) {
  return { measured: "measured", integrated: "integrated from power readings", estimated: "an estimate, not measured" }[source] ?? "source unknown";
}

const OUTCOMES = { applied: "applied", rolled_back: "rolled back", failed: "failed", unknown: "outcome unknown" };

export function outcomeOf(decision) {
  if (decision.outcome) return OUTCOMES[decision.outcome.kind];
  return decision.kind === "keep" ? "nothing to do" : "under way";
}

export function asked(source) {
  return { daemon: "by the daemon", cli: "from the command line", api: "over the API", page: "from this page", schedule: "by the calendar" }[source] ?? `by ${source}`;
}
