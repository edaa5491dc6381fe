// Requests to /api, with the key of the person; and streams of server-sent events over fetch,
// because an EventSource sends no key.

const NAME = "agentd-key";
let key = read();

function read() {
  try {
    return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // a browser that keeps nothing: the key lasts as long as the page
  }
}

export const hasKey = () => key !== "";

export function useKey(text, { keep }) {
  key = text;
  try {
    sessionStorage.removeItem(NAME);
    localStorage.removeItem(NAME);
    if (text) (keep ? localStorage : sessionStorage).setItem(NAME, text);
  } catch { /* as above */ }
}

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `agentd answered with status ${status}`);
    this.status = status;
    this.title = body.title;
    this.code = body.code ?? "";
  }
}

async function send(method, path, body, { signal, accept } = {}) {
  const headers = { Accept: accept ?? "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { title: "agentd is away", code: "away", detail: "The process does not answer. It may be restarting." });
  }
  if (!response.ok) {
    const problem = new Problem(response.status, await response.json().catch(() => ({})));
    if (problem.status === 401) dispatchEvent(new CustomEvent("locked", { detail: problem }));
    throw problem;
  }
  return response;
}

export async function get(path, options) {
  return (await send("GET", path, undefined, options)).json();
}

export async function post(path, body) {
  return (await send("POST", path, body ?? {})).json();
}

export async function remove(path) {
  return (await send("DELETE", path)).json();
}

// Yields {event, data, id} of one response; `opened` gets its header Location first.
export async function* events(method, path, body, signal, opened) {
  const response = await send(method, path, body, { signal, accept: "text/event-stream" });
  opened?.(response.headers.get("location"));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const found = fields(block);
        if (found.data !== undefined) yield { event: found.event ?? "message", id: found.id, data: JSON.parse(found.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function fields(block) {
  const found = {};
  for (const line of block.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) found[line.slice(0, at)] = line.slice(at + 2);
  }
  return found;
}
