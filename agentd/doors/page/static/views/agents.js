// The agents online: how they are, which revision is live, and which edit was refused.

import { get } from "../api.js";
import { badge, brief, code, count, dot, empty, h, many, money, replace, span, table, when, wrong } from "../dom.js";
import { live, on } from "../live.js";

export async function show({ view, actions, signal, rest, title }) {
  const [name, revision] = rest;
  if (name) title(name);
  const place = h("section", {});
  const draw = () => (name ? one(view, actions, name, place) : all(view));
  on("agents", draw, signal);
  draw();
  if (name) await revisions(place, name, revision, signal);
}

const health = (agent) => (agent.state !== "ready" ? ["bad", agent.state] : agent.refused.length ? ["warn", "an edit was refused"] : ["ok", "ready"]);

function all(view) {
  if (!live.agents.length) return replace(view, empty("No agent is online", "An agent appears here as soon as a process runs it."));
  const rows = live.agents.map((each) => [
    h("span", { class: "row" }, dot(...health(each)), h("a", { class: "strong", href: `#/agents/${each.agent}` }, each.agent), each.refused.length > 0 && badge("edit refused", "warn")),
    `${each.in_flight} / ${each.concurrency}`, count(each.done), h("span", { class: each.failed ? "bad" : "" }, count(each.failed)), span(each.p50), brief(each.tokens), money(each.cost), count(each.replicas),
    h("span", { class: "row" }, each.model || "none", each.mock && badge("mock", "quiet")), h("code", {}, each.revision),
  ]);
  replace(view, table("Agents", [["Agent", ""], ["Running", "number"], ["Done", "number"], ["Failed", "number"], ["Median", "number"], ["Tokens", "number"], ["Cost", "number"], ["Replicas", "number"], ["Model", ""], ["Revision", ""]], rows));
}

function one(view, actions, name, place) {
  const agent = live.agents.find((each) => each.agent === name);
  if (!agent) return replace(view, empty(`${name} is not online`, "No process runs it now."), place);
  replace(actions, live.may("ask") && h("a", { class: "button primary", href: `#/ask/${name}` }, "Ask"));
  const [kind, text] = health(agent);
  const fact = (term, ...value) => h("div", {}, h("dt", {}, term), h("dd", {}, value));
  replace(view,
    agent.description && h("p", { class: "lead" }, agent.description),
    h("dl", { class: "facts" },
      fact("State", dot(kind, text), ` ${text}`, agent.restarts > 0 && `, restarted ${agent.restarts} times`),
      fact("Capabilities", agent.capabilities.map((each) => badge(each, "quiet"))),
      fact("Model", `${agent.model || "none"} `, agent.mock && badge("mock", "quiet")),
      fact("Running", `${agent.in_flight} of ${agent.concurrency}`),
      fact("Done", `${count(agent.done)}, ${count(agent.failed)} failed`),
      fact("Median", span(agent.p50)), fact("Tokens", count(agent.tokens)), fact("Cost", money(agent.cost)),
      fact("Live revision", agent.revisions.map((each) => h("code", {}, each)))),
    agent.refused.length > 0 && h("section", { class: "problem" }, h("h2", {}, "The last edit was refused"), h("p", {}, "The revision before it stays live until the file is right."), agent.refused.map((each) => h("pre", {}, each))),
    place,
    h("section", {}, h("h2", {}, many(agent.replicas, "replica")), table("Replicas", [["Process", ""], ["Host", ""], ["Pid", "number"], ["Revision", ""]], agent.instances.map((each) => [h("code", {}, each.instance), each.host, String(each.pid), h("code", {}, each.revision)]))),
    agent.accepts && h("section", {}, h("h2", {}, "What it accepts"), code(agent.accepts, "JSON Schema")));
}

// The revisions on record, and what changed with one of them.
async function revisions(place, name, chosen, signal) {
  const { revisions: found } = await get(`/api/record/revisions/${encodeURIComponent(name)}`, { signal });
  if (!found.length) return;
  const shown = chosen ?? found[0].revision;
  const changed = h("div", { class: "diff" });
  const isLive = (each) => live.agents.find((agent) => agent.agent === name)?.revisions.includes(each.revision);
  replace(place, h("h2", {}, "Revisions"), h("div", { class: "revised" },
    h("ol", { class: "revisions", "aria-label": "Revisions, the newest first" }, found.map((each) => h("li", {}, h("a", { href: `#/agents/${name}/${each.revision}`, "aria-current": each.revision === shown ? "true" : null },
      h("code", {}, each.revision), isLive(each) && badge("live", "ok"), h("span", { class: "muted" }, when(each.at)))))),
    changed));
  try {
    const { before, changes } = await get(`/api/record/revisions/${encodeURIComponent(name)}/${encodeURIComponent(shown)}/changes`, { signal });
    replace(changed, changes.length ? changes.map(diff) : h("p", { class: "muted" }, before ? "Its files are those of the revision before." : "It is the first revision on record."));
  } catch (error) {
    if (!signal.aborted) replace(changed, wrong(error));
  }
  if (chosen) place.scrollIntoView({ block: "start" });
}

const LINES = { "+": "added", "-": "removed", "@": "place" };

function diff(change) {
  // The first two lines of a unified diff name the file, as the heading does.
  const lines = change.lines.filter((line, index) => index > 1 || !/^(---|\+\+\+)/.test(line));
  return h("figure", {}, h("figcaption", { class: "row" }, h("code", {}, change.path), badge(change.kind, "quiet")),
    change.why ? h("p", { class: "muted" }, change.why) : h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": `What changed in ${change.path}` }, lines.map((line) => h("span", { class: LINES[line[0]] ?? "same" }, `${line}\n`))));
}
