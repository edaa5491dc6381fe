// What happens now: one stream for the whole page. Views listen to "agents", "flow", "counts" and
// "state".

import { events, get } from "./api.js";

const KEPT = 120; // messages of the feed

export const live = Object.assign(new EventTarget(), {
  me: null,
  agents: [],
  messages: [],
  counts: { approvals: null, letters: null },
  connected: false,
  may: (right) => live.me !== null && live.me.may.includes(right),
});

let stop = null;
let pending = new Set();

const tell = (name, detail) => live.dispatchEvent(new CustomEvent(name, { detail }));

// Adds a listener that ends with the view.
export function on(name, listener, signal) {
  live.addEventListener(name, (event) => listener(event.detail), { signal });
}

export function start() {
  end();
  stop = new AbortController();
  recount();
  if (live.may("read")) run(stop.signal);
}

export function end() {
  stop?.abort();
  stop = null;
}

async function run(signal) {
  for (let pause = 500; !signal.aborted; pause = Math.min(pause * 2, 10_000)) {
    try {
      for await (const { event, data } of events("GET", "/api/live", undefined, signal)) {
        if (!live.connected) { // after a pause, everything may have changed
          connected(true);
          if (pause > 500) changed(["tasks", "approvals", "letters"]);
        }
        pause = 500;
        if (event === "agents") tell("agents", (live.agents = data.agents));
        if (event === "flow") flow(data);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 || error.status === 403) break;
    }
    connected(false);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  connected(false);
}

function connected(is) {
  live.connected = is;
  tell("state", is);
}

function flow(data) {
  live.messages.push(...data.messages);
  live.messages.splice(0, live.messages.length - KEPT);
  tell("flow", data);
  if (data.changed.length) changed(data.changed);
}

// Lists are read again at most once in a second, however much happens.
export function changed(names) {
  if (!pending.size) setTimeout(settle, 700);
  names.forEach((name) => pending.add(name));
}

function settle() {
  const names = pending;
  pending = new Set();
  names.forEach((name) => tell(`changed:${name}`));
  if (names.has("approvals") || names.has("letters")) recount();
}

export async function recount() {
  const [approvals, letters] = await Promise.all([
    live.may("approve") || live.may("read") ? get("/api/approvals").then((found) => found.approvals.length).catch(() => null) : null,
    live.may("read") ? get("/api/dead-letters").then((found) => found.total).catch(() => null) : null,
  ]);
  live.counts = { approvals, letters };
  tell("counts", live.counts);
}
