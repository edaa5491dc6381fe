// What is known of one node of a trace: its numbers, and the whole texts of its records.

import { get } from "./api.js";
import { NAMES } from "./kinds.js";
import { badge, code, count, h, icon, many, money, replace, short, span } from "./dom.js";

const calls = new Map(); // the calls of models, by task

export async function details(side, node, parents, { signal }) {
  const title = h("header", { class: "row wrap" }, h("h2", {}, node.name || node.kind), badge(NAMES[node.kind] ?? node.kind, "quiet"), node.status && badge(node.status, { ok: "ok", failed: "bad", waiting: "warn" }[node.status]));
  const body = h("div", { class: "body" });
  replace(side, title, facts(node, parents), body);
  const records = await Promise.all((node.sequences ?? []).slice(0, 4).map((each) => get(`/api/record/messages/${each}`, { signal }).catch(() => null)));
  const kept = records.filter(Boolean);
  const shown = { turn: ofTurn, call: ofCall, join: ofJoin }[node.kind] ?? ofMessage;
  const parts = await shown(node, kept, { parents, signal });
  if (side.firstChild !== title) return; // something else was chosen meanwhile
  replace(body, parts, kept.map((record) => h("details", {}, h("summary", {}, `Record ${record.sequence}`), h("p", { class: "muted" }, h("code", {}, record.subject)), code(record.message, "Record"))));
}

function facts(node, parents) {
  const task = [node, ...parents].find((each) => each.kind === "task" || each.kind === "life");
  const agent = [node, ...parents].find((each) => each.kind === "task")?.name;
  const revision = node.revision ?? (node.kind === "turn" ? task?.revision : undefined);
  const took = node.ended ? new Date(node.ended) - new Date(node.began) : null;
  const queued = node.started ? new Date(node.started) - new Date(node.began) : 0;
  const usage = node.usage ?? {};
  const all = [
    ["Took", took === null ? "not ended" : span(took)], ["Queued", queued > 1 && span(queued)],
    ["Began", new Date(node.began).toLocaleString()], ["Model", node.model], ["Endpoint", node.endpoint],
    ["Revision", revision && h("a", { href: `#/agents/${agent}/${revision}`, title: "What changed with it" }, h("code", {}, revision))],
    ["Tokens", (node.tokens ?? usage.inputTokens) !== undefined && count(node.tokens ?? (usage.inputTokens ?? 0) + (usage.outputTokens ?? 0))],
    ["Cost", node.cost !== undefined && money(node.cost)], ["First chunk", node.firstChunk !== undefined && span(node.firstChunk)],
    ["Attempts", typeof node.attempts === "number" && node.attempts > 1 && count(node.attempts)], ["Replicas", node.replicas?.length > 0 && node.replicas.map((each) => h("code", {}, short(each)))],
    ["Sent to", node.to], ["Sent by", node.source], ["By", node.by ?? (node.kind === "approval" && node.name)], ["Decision", node.decision], ["Code", node.code], ["Finished by", node.finishReason],
    ["Id", node.id && h("code", { title: node.id }, short(node.id))],
  ];
  return h("dl", { class: "small-facts" }, all.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

const part = (name, ...content) => h("section", {}, h("h3", {}, name), content);
const text = (name, value) => (value === undefined || value === null || value === "" ? null : part(name, code(value, name)));

function ofMessage(node, records) {
  const content = records.at(-1)?.message?.payload?.content;
  if (node.kind === "result" && content && typeof content === "object") return content.success ? text("Answer", content.data) : text("Error", content.error);
  if (node.kind === "task") return [text("Question", content), node.lives > 1 && h("p", { class: "muted" }, many(node.lives, "life"))];
  return text("Content", content ?? node.text);
}

async function ofTurn(node, records, { parents, signal }) {
  const content = records.at(-1)?.message?.payload?.content ?? {};
  const completion = content.completion ?? {};
  const call = await called(node, parents, signal);
  return [
    part("What the model was sent", call?.messages?.length ? call.messages.map(said) : h("p", { class: "muted" }, "It is not on record.")),
    call?.parameters && Object.keys(call.parameters).length > 0 && text("Parameters", call.parameters),
    call?.tools?.names?.length > 0 && part("Tools", h("p", {}, call.tools.names.map((each) => badge(each, "quiet")))),
    text("What it answered", completion.text || node.text || call?.text),
    (completion.tool_calls ?? []).length > 0 && part("What it called", completion.tool_calls.map((each) => [h("p", {}, h("code", {}, each.name)), code(parse(each.arguments), `Arguments of ${each.name}`)])),
    Array.isArray(call?.attempts) && call.attempts.length > 1 && text("Attempts", call.attempts),
    call?.error && text("Error", call.error),
  ];
}

// The call of a turn, with its whole messages. A turn after the newest reading is read again.
async function called(node, parents, signal) {
  const task = parents.find((each) => each.kind === "task")?.id;
  if (!task) return null;
  for (const fresh of [false, true]) {
    if (fresh || !calls.has(task)) calls.set(task, (await get(`/api/record/tasks/${encodeURIComponent(task)}/calls`, { signal }).catch(() => ({ calls: [] }))).calls);
    const life = Number(parents.find((each) => each.kind === "life")?.name ?? 1);
    // The last one of a turn is its own: a summary may have come before it.
    const found = calls.get(task).findLast((each) => each.turn === node.turn && each.life === life);
    if (found) return found;
  }
  return null;
}

function said(message) {
  const { role, content, ...rest } = message;
  return h("div", { class: `said ${role}` }, h("p", { class: "role" }, role ?? "message"), code(content ?? rest, `Message of ${role}`), content && rest.tool_calls && code(rest.tool_calls, "Tool calls"));
}

// A call that is not over: a person may have to decide on it.
function waits(node) {
  const asked = node.children?.some((each) => each.kind === "approval" && each.status === "waiting");
  return h("p", {}, asked ? ["It waits for a person: ", h("a", { href: "#/waiting" }, "decide")] : "It is still running.");
}

function ofCall(node, records) {
  const answered = records.map((each) => each.message?.payload?.content ?? {}).find((each) => each.event === "tool_answered");
  return [text("Arguments", parse(node.text)), answered ? text(answered.error ? "Error" : "Answer", parse(answered.text)) : text("Answer", node.answer), !answered && (node.status === "waiting" ? waits(node) : h("p", { class: "muted" }, "There is no answer on record."))];
}

function parse(value) {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function ofJoin(node) {
  const rows = (node.facts ?? []).map((fact) => h("li", {}, h("code", {}, fact.subject), " of ", fact.task ? h("a", { href: `#/tasks/${fact.task}` }, fact.source) : fact.source));
  return [part(many(rows.length, "fact"), h("ul", { class: "plainlist" }, rows)), node.missing?.length > 0 && part("Missing", node.missing.map((each) => badge(each, "warn")))];
}
