// Tasks on record: found by words, agent, state and age; and one of them with all that happened.

import { get } from "../api.js";
import { badge, brief, empty, h, money, replace, span, when, wrong } from "../dom.js";
import { live, on } from "../live.js";

const AGES = [["", "Any time"], ["1h", "Last hour"], ["1d", "Last day"], ["7d", "Last week"], ["30d", "Last month"]];
const STATES = [["", "All"], ["waiting", "Open"], ["failed", "Failed"]];
const MOST = 100; // tasks in one answer
const AGAIN = 3000; // milliseconds between two readings of the list, however much happens

export async function show(into) {
  if (into.rest[0]) return (await import("../trace.js")).show(into);
  const { view, signal, query } = into;
  const list = h("div", { "aria-live": "off" });
  const text = h("input", { type: "search", id: "search", placeholder: "Search questions and answers", "aria-label": "Search questions and answers", value: query.get("text") ?? "" });
  const agent = choice("agent", "Agent", [["", "All agents"], ...live.agents.map((each) => [each.agent, each.agent])], query.get("agent"));
  const since = choice("since", "Age", AGES, query.get("since"));
  const state = h("div", { class: "joined", role: "group", "aria-label": "State" }, STATES.map(([name, label]) =>
    h("button", { type: "button", "data-state": name, "aria-pressed": String((query.get("state") ?? "") === name), onclick: () => press(name) }, label)));
  const press = (name) => {
    state.querySelectorAll("button").forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.state === name)));
    load();
  };
  replace(view, h("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); load(); } }, text, state, agent, since), list);

  let timer = 0, number = 0, last = 0;
  const load = async () => {
    const mine = ++number;
    last = Date.now();
    const wanted = { text: text.value.trim(), agent: agent.value, since: since.value, state: state.querySelector("[aria-pressed=true]").dataset.state };
    const fields = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
    history.replaceState(null, "", `#/tasks${fields.size ? `?${fields}` : ""}`);
    try {
      const { tasks } = await get(`/api/record/tasks?${fields}`, { signal });
      if (mine === number) replace(list, tasks.length ? [rows(tasks), tasks.length >= MOST && h("p", { class: "muted more" }, `These are the newest ${MOST}. Search for older ones.`)] : empty("No task is found", fields.size ? "Try fewer words, or another filter." : "Tasks appear here as soon as somebody sends one."));
    } catch (error) {
      if (!signal.aborted && mine === number) replace(list, wrong(error));
    }
  };
  text.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(load, 250); });
  agent.addEventListener("change", load);
  since.addEventListener("change", load);
  on("changed:tasks", () => Date.now() - last > AGAIN && load(), signal);
  replace(list, h("p", { class: "muted pulse" }, "Reading the log…"));
  await load();
}

function choice(id, label, options, chosen) {
  return h("select", { id, "aria-label": label }, options.map(([value, text]) => h("option", { value, selected: value === (chosen ?? "") }, text)));
}

function rows(tasks) {
  return h("ul", { class: "tasklist" }, tasks.map((task) => h("li", {}, h("a", { href: `#/tasks/${task.task}` },
    h("span", { class: "what" },
      h("span", { class: "asked" }, task.asked || `${task.topic}, made of facts`),
      task.text && h("span", { class: "said muted" }, task.text)),
    h("span", { class: "who" }, h("span", { class: "strong" }, task.agent || task.topic), state(task)),
    h("span", { class: "numbers muted" }, h("span", {}, task.latency === null ? "" : span(task.latency)), h("span", {}, task.tokens === null ? "" : `${brief(task.tokens)} tokens`), h("span", {}, task.cost ? money(task.cost) : ""), when(task.at))))));
}

export function state({ success, code }) {
  if (success === null) return badge("open", "warn");
  return success ? badge("done", "ok") : badge(code || "failed", "bad");
}
