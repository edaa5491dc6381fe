// Ask an agent, and read the answer as it is written.

import { events, post } from "../api.js";
import { badge, code, h, icon, money, pretty, replace, say, short, span, wrong } from "../dom.js";
import { live, on } from "../live.js";

export async function show({ view, actions, signal, rest }) {
  const target = h("input", { id: "target", list: "targets", required: true, autocomplete: "off", spellcheck: "false", placeholder: "an agent or a capability" });
  const targets = h("datalist", { id: "targets" });
  const about = h("p", { class: "muted about", id: "about" });
  const text = h("textarea", { id: "text", rows: "3", required: true, placeholder: "Ask something", "aria-describedby": "hint" });
  const button = h("button", { class: "primary" }, "Ask");
  const log = h("div", { class: "dialogue", role: "log", "aria-label": "Conversation" });
  const form = h("form", { class: "asking", onsubmit: (event) => { event.preventDefault(); ask(); } },
    h("div", { class: "row" }, h("label", { for: "target" }, "To"), target, targets), about,
    h("label", { for: "text", class: "unseen" }, "Question"), text,
    h("div", { class: "row" }, h("span", { id: "hint", class: "muted grow" }, "Enter asks, Shift+Enter makes a new line."), button));
  let conversation = null, running = null;

  const fresh = h("button", { class: "plain", onclick: () => { conversation = null; replace(log); text.focus(); } }, "New conversation");
  replace(actions, fresh);
  replace(view, log, form);
  const agent = () => live.agents.find((each) => `@${each.agent}` === target.value.trim());
  const describe = () => {
    const found = agent();
    replace(about, found ? [found.description || `${found.agent} runs on ${found.model || "no model"}.`, found.accepts && " It takes JSON: write an object."] : "");
  };
  const offer = () => {
    const capabilities = new Set(live.agents.flatMap((each) => each.capabilities));
    replace(targets, live.agents.map((each) => h("option", { value: `@${each.agent}` }, each.description)), [...capabilities].sort().map((each) => h("option", { value: each }, "capability")));
    if (!target.value && live.agents.length) target.value = rest[0] ? `@${rest[0]}` : `@${live.agents[0].agent}`;
    describe();
  };
  target.addEventListener("input", describe);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  on("agents", offer, signal);
  offer();
  signal.addEventListener("abort", () => running?.abort());

  async function ask() {
    if (running) return;
    const asked = text.value.trim();
    if (!asked) return;
    const answer = h("div", { class: "answer" }, h("p", { class: "muted pulse" }, "Waiting for an agent…"));
    log.append(h("div", { class: "question" }, asked), answer);
    answer.scrollIntoView({ block: "nearest" });
    running = new AbortController();
    let content;
    try {
      content = agent()?.accepts ? JSON.parse(asked) : asked;
    } catch (error) {
      replace(answer, wrong({ title: "This agent takes JSON", message: error.message }));
      running = null;
      return;
    }
    text.value = "";
    button.disabled = true;
    const began = performance.now();
    const body = { target: target.value.trim(), content, ...(conversation ? { conversation } : {}) };
    try {
      conversation = await answered(answer, body, began, running.signal) ?? conversation;
    } catch (error) {
      if (!signal.aborted) replace(answer, wrong(error));
    } finally {
      running = null;
      button.disabled = false;
      if (!signal.aborted) text.focus();
    }
  }
}

// Shows one answer as it arrives; returns the conversation.
async function answered(place, body, began, signal) {
  const text = h("div", { class: "prose" });
  const note = h("p", { class: "muted pulse" }, "Waiting for an agent…");
  const stop = h("button", { class: "plain small" }, "Stop");
  const line = h("p", { class: "meta" }, stop);
  replace(place, note, text, line);
  const opened = (location) => stop.addEventListener("click", () => {
    stop.disabled = true;
    post(`${location}/cancel`).catch((error) => place.append(wrong(error)));
  });
  for await (const { event, data } of events("POST", "/api/tasks", body, signal, opened)) {
    if (event === "delta") {
      note.remove();
      text.append(data.text);
      if (nearEnd()) line.scrollIntoView({ block: "nearest" });
    } else if (event === "restart") {
      text.replaceChildren();
    } else if (event === "delay") {
      note.textContent = data.text;
      text.before(note);
    } else if (event === "waiting") {
      replace(note, "Waits for a person: ", h("a", { href: "#/waiting" }, data.calls.map((call) => call.name).join(", ")));
      text.before(note);
    } else if (event === "error") {
      throw Object.assign(new Error(data.detail), { title: data.code });
    } else if (event === "result") {
      note.remove();
      ended(text, line, data, performance.now() - began);
      return data.conversation;
    }
  }
  throw new Error("The stream ended before the answer. The task goes on; its place is in Tasks.");
}

const nearEnd = () => innerHeight + scrollY > document.documentElement.scrollHeight - 240;

function ended(text, line, task, ms) {
  const { success, data, error, agent, cost } = task.result;
  if (!success) replace(text, wrong({ title: error.code, message: error.message }));
  else replace(text, typeof data === "string" ? data : code(data, "Answer"));
  say(success ? `${agent} has answered` : `${agent} failed`);
  const usd = typeof cost === "number" ? cost : cost?.usd;
  replace(line, badge(agent, "quiet"), h("span", {}, span(ms)), usd !== undefined && h("span", {}, money(usd)), h("a", { href: `#/tasks/${task.id}` }, icon("tasks"), `Task ${short(task.id)}`));
}
