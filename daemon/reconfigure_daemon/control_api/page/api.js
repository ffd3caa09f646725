// The control API as the page sees it. The token is a variable of this module and is written nowhere.

const PATIENCE_MS = 10_000;

let token = null;

/** A request that the daemon refused or could not answer; the message is the daemon's own sentence. */
export class Refused extends Error {
  constructor(status, kind, message) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

export function useToken(value) {
  token = value;
}

export async function get(path) {
  const response = await ask(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  return response.json();
}

/** Ask for something; `onStep` sees each step on the way, and the result comes last. */
export async function intend(request, onStep = () => {}) {
  const response = await ask("/v1/intents", {
    method: "POST",
    body: JSON.stringify({ source: "page", ...request }),
    headers: { "Content-Type": "application/json", Accept: "application/x-ndjson" },
  });
  for await (const message of lines(response)) {
    if (message.error) throw new Refused(500, message.error.kind, message.error.message);
    if (message.event !== "progress") return message;
    onStep(message);
  }
  throw new Refused(502, "outcome_unknown", "The connection ended before the outcome was known; the history will tell it.");
}

async function ask(path, options) {
  const headers = { "X-Reconfigure": "page", ...options.headers };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  if (response.ok) return response;
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // Something between here and the daemon answered in its place.
  }
  throw new Refused(response.status, error.kind ?? "error", error.message ?? `The daemon answered with status ${response.status}.`);
}

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += value ?? "";
    const whole = rest.split("\n");
    rest = done ? "" : whole.pop();
    for (const line of whole) if (line.trim()) yield JSON.parse(line);
    if (done) return;
  }
}
