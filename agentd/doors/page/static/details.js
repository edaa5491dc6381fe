// What is known of one node of a trace: its numbers, and the whole texts of its records.

import { get } from "./api.js";
import { NAMES } from "./kinds.js";
import { badge, code, count, h, icon, many, money, replace, short, span } from "./dom.js";

const prompts = new Map(); // the traces with prompts, by conversation

export async function details(side, node, parents, { id, path, signal }) {
  const title = h("header", { class: "row wrap" }, h("h2", {}, node.name || node.kind), badge(NAMES[node.kind] ?? node.kind, "quiet"), node.status && badge(node.status, { ok: "ok", failed: "bad", waiting: "warn" }[node.status]));
  const body = h("div", { class: "body" });
  replace(side, title, facts(node, parents), body);
  const records = await Promise.all((node.sequences ?? []).slice(0, 4).map((each) => get(`/api/record/messages/${each}`, { signal }).catch(() => null)));
  const kept = records.filter(Boolean);
  const shown = { turn: ofTurn, call: ofCall, join: ofJoin }[node.kind] ?? ofMessage;
  const parts = await shown(node, kept, { id, path, parents, signal });
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

async function ofTurn(node, records, { id, path, signal }) {
  const content = records.at(-1)?.message?.payload?.content ?? {};
  const completion = content.completion ?? {};
  if (!prompts.has(id)) prompts.set(id, get(`/api/record/traces/${encodeURIComponent(id)}?prompts=true`, { signal }));
  const traced = await prompts.get(id).catch(() => { prompts.delete(id); return null; });
  const whole = traced && find(traced.tree, node);
  if (traced && !whole) prompts.delete(id); // it has happened since
  const messages = whole?.call?.messages ?? content.call?.messages;
  return [
    part("What the model was sent", Array.isArray(messages) ? messages.map(said) : h("p", { class: "muted" }, "It is not on record.")),
    text("What it answered", completion.text ?? content.text),
    (completion.tool_calls ?? []).length > 0 && part("What it called", completion.tool_calls.map((call) => [h("p", {}, h("code", {}, call.name)), code(call.arguments, `Arguments of ${call.name}`)])),
  ];
}

// The same node in another reading of the trace.
function find(tree, node) {
  if (tree.kind === node.kind && String(tree.sequences) === String(node.sequences)) return tree;
  for (const child of tree.children ?? []) {
    const found = find(child, node);
    if (found) return found;
  }
  return null;
}

function said(message) {
  const { role, content, ...rest } = message;
  return h("div", { class: `said ${role}` }, h("p", { class: "role" }, role ?? "message"), code(content ?? rest, `Message of ${role}`), content && rest.tool_calls && code(rest.tool_calls, "Tool calls"));
}

function ofCall(node, records, { parents }) {
  const answered = records.map((each) => each.message?.payload?.content ?? {}).find((each) => each.event === "tool_answered");
  return [text("Arguments", parse(node.text)), answered ? text(answered.error ? "Error" : "Answer", parse(answered.text)) : text("Answer", node.answer), parents[0]?.kind === "turn" && !answered && h("p", { class: "muted" }, "There is no answer on record.")];
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
