// What runs and what moves: the graph of all agents, and the newest messages.

import { get } from "../api.js";
import { brief, clock, count, dot, empty, h, many, money, replace, short, table } from "../dom.js";
import { contracted } from "../contract.js";
import { draw } from "../graph.js";
import { live, on } from "../live.js";

const SHOWN = 60; // messages of the feed
const OWN = new Set(["run", "conversation", "join", "join_due", "summary", "task", "cancel"]);
const KINDS = { task: "task", result: "result", event: "event", dlq: "dead letter" };

export async function show({ view, actions, signal }) {
  const numbers = h("dl", { class: "numbers" });
  const place = h("div", { class: "graph", role: "img", "aria-label": "The agents and how work flows between them. The list below says the same." });
  const feed = h("ol", { class: "feed", tabindex: "0", "aria-label": "The newest messages" });
  const list = h("details", { class: "aslist" }, h("summary", {}, "The same as a list"));
  replace(view, numbers, h("div", { class: "stage" }, h("div", { class: "frame" }, place), h("section", { class: "now", "aria-label": "Now" }, h("h2", {}, "Now"), feed)), list);
  let graph = null, drawn = "";

  const choice = (id) => h("input", { type: "checkbox", id, onchange: () => again() });
  const [subjects, models] = [choice("subjects"), choice("models")];
  replace(actions, h("label", { class: "check", for: "subjects" }, subjects, "Subjects"), h("label", { class: "check", for: "models" }, models, "Models"),
    h("div", { class: "joined", role: "group", "aria-label": "Zoom" },
      h("button", { "aria-label": "Smaller", onclick: () => graph?.zoom(1 / 1.25) }, "−"),
      h("button", { onclick: () => graph?.fit() }, "Fit"),
      h("button", { "aria-label": "Larger", onclick: () => graph?.zoom(1.25) }, "+")));

  let drawing = new AbortController();
  signal.addEventListener("abort", () => drawing.abort());
  const again = async () => {
    drawing.abort();
    drawing = new AbortController();
    const mine = drawing.signal;
    const found = added(await get("/api/topology", { signal: mine }), live.agents);
    drawn = revisions();
    const all = without(found, models.checked ? "" : "model");
    const { nodes, edges } = subjects.checked ? all : contracted(all);
    replace(place);
    if (!nodes.length) return replace(place, empty("No agent runs here", "agentd shows agents as soon as their manifests load."));
    graph = await draw(place, { nodes, edges }, { chosen: (name) => { location.hash = `#/agents/${name}`; }, signal: mine });
    replace(list, list.firstChild, asList(all.nodes, all.edges));
    state();
  };
  const state = () => {
    counted(numbers);
    for (const each of live.agents) graph?.agent(each.agent, `${each.agent}\n${inShort(each)}`, each.refused.length || each.state !== "ready" ? "bad" : each.in_flight ? "busy" : "");
  };
  on("agents", () => { state(); if (drawn && drawn !== revisions()) again().catch(() => {}); }, signal);
  on("counts", state, signal);
  on("theme", () => graph?.recolour(), signal);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graph?.recolour(), { signal });
  on("flow", ({ messages, more }) => {
    messages.forEach((message) => graph?.message(message));
    feed.prepend(...messages.filter(isWork).toReversed().map(line), ...(more ? [h("li", { class: "more" }, `and ${count(more)} more`)] : []));
    while (feed.children.length > SHOWN) feed.lastChild.remove();
  }, signal);
  feed.append(...live.messages.filter(isWork).toReversed().slice(0, SHOWN).map(line));
  counted(numbers);
  await again();
}

function without({ nodes, edges }, kind) {
  const kept = nodes.filter((node) => node.kind !== kind);
  const ids = new Set(kept.map((node) => node.id));
  return { nodes: kept, edges: edges.filter((edge) => ids.has(edge.source) && ids.has(edge.target)) };
}

const revisions = () => JSON.stringify(live.agents.map((each) => [each.agent, each.revisions]));

// Agents of other processes run, though the files of this process do not have them.
function added({ nodes, edges }, agents) {
  const known = new Set(nodes.map((node) => node.id));
  const others = agents.filter((each) => !known.has(`agent:${each.agent}`));
  return { nodes: [...nodes, ...others.map((each) => ({ id: `agent:${each.agent}`, kind: "agent", label: each.agent }))], edges };
}

function inShort(agent) {
  if (agent.state !== "ready") return "not ready";
  if (agent.refused.length) return "edit refused";
  if (agent.in_flight) return `${brief(agent.in_flight)} running`;
  return agent.failed ? `${brief(agent.done)} done, ${brief(agent.failed)} failed` : `${brief(agent.done)} done`;
}

function counted(place) {
  const sum = (name) => live.agents.reduce((total, each) => total + (each[name] ?? 0), 0);
  const number = (name, value, link, kind = "") => h("div", { class: kind }, h("dt", {}, name), h("dd", {}, link ? h("a", { href: link }, value) : value));
  replace(place,
    number("Agents", count(live.agents.length), "#/agents"),
    number("Running", count(sum("in_flight"))),
    number("Done", brief(sum("done"))),
    number("Failed", brief(sum("failed")), null, sum("failed") ? "bad" : ""),
    number("Waiting for a person", count(live.counts.approvals), "#/waiting", live.counts.approvals ? "warn" : ""),
    number("Dead letters", count(live.counts.letters), "#/letters", live.counts.letters ? "bad" : ""),
    number("Tokens", brief(sum("tokens"))),
    number("Cost", money(sum("cost"))));
}

// What agentd notes for itself stays out of the feed.
const isWork = (message) => message.type !== "event" || !OWN.has(message.domain);

function line(message) {
  const kind = message.failed || message.type === "dlq" ? "bad" : message.type;
  const name = message.topic.replace(/^_agent\./, "@");
  const about = h("span", { class: "about" }, dot(kind, KINDS[message.type] ?? message.type), h("span", { class: "who" }, message.agent || "–"), h("span", { class: "muted" }, short(name)), h("time", { class: "muted" }, clock(message.at)));
  const text = h("span", { class: "text" }, message.text);
  return h("li", {}, message.task ? h("a", { href: `#/tasks/${message.task}` }, about, text) : [about, text]);
}

function asList(nodes, edges) {
  const label = Object.fromEntries(nodes.map((node) => [node.id, node.label]));
  const rows = nodes.filter((node) => node.kind === "agent").map((node) => [
    h("a", { href: `#/agents/${node.label}` }, node.label),
    edges.filter((edge) => edge.target === node.id).map((edge) => `${edge.kind} ${label[edge.source]}`).join(", ") || "–",
    edges.filter((edge) => edge.source === node.id).map((edge) => `${edge.kind} ${label[edge.target]}`).join(", ") || "–",
  ]);
  return [h("p", { class: "muted" }, many(rows.length, "agent")), table("Agents and how work flows", [["Agent", ""], ["In", ""], ["Out", ""]], rows)];
}
