// One conversation: its tree beside a waterfall of time, and whatever is chosen in full.

import { get, post } from "./api.js";
import { badge, brief, count, empty, h, many, money, replace, short, span, sure, wrong } from "./dom.js";
import { details } from "./details.js";
import { NAMES } from "./kinds.js";
import { live, on } from "./live.js";

const QUIET = new Set(["memory", "accepted"]); // what agentd notes for itself
const AGAIN = 2000; // milliseconds between two readings of a trace that goes on
const TICKS = 4;
const MANY = 400; // nodes; of more, the tasks below the first ones are closed at the beginning

export async function show({ view, actions, signal, rest, title }) {
  const id = rest[0];
  const all = h("input", { type: "checkbox", id: "all", onchange: () => draw() });
  const stop = h("button", { class: "danger", hidden: true, onclick: () => end() }, "Stop");
  replace(actions, h("label", { class: "check", for: "all" }, all, "All records"), stop);
  const side = h("aside", { class: "side card", "aria-label": "Details", tabindex: "-1" });
  const tree = h("div", { class: "tree", role: "tree", "aria-label": "What happened" });
  const facts = h("dl", { class: "numbers" });
  const axis = h("div", { class: "axis", "aria-hidden": "true" });
  replace(view, facts, h("div", { class: "traced" }, h("div", { class: "frame" }, axis, tree), side));
  const closed = new Set();
  let found = null, chosen = null, focused = null, read = 0;

  const load = async () => {
    read = Date.now();
    const fresh = found === null;
    found = await get(`/api/record/traces/${encodeURIComponent(id)}`, { signal });
    const { tree: root } = found;
    const nodes = fresh ? [...flat(root.children ?? [], true, closed, "", 1)] : [];
    if (nodes.length > MANY) nodes.filter(({ node, level }) => level > 1 && node.kind === "task" && node.id !== found.asked).forEach(({ path }) => closed.add(path));
    const first = root.children?.[0];
    title(first?.text ? cut(first.text, 110) : `Conversation ${short(root.id ?? id)}`);
    replace(facts, number("Tasks", count(root.tasks)), number("Time", root.ended ? span(between(root.began, root.ended)) : badge("still going", "warn")),
      number("Tokens", brief(root.tokens)), number("Cost", money(root.cost)), number("Conversation", h("code", { title: root.id }, short(root.id ?? ""))),
      found.missing > 0 && number("No longer in the log", many(found.missing, "record")));
    stop.hidden = Boolean(root.ended) || !live.may("operate") || !root.id;
    draw();
  };
  const end = async () => {
    if (!(await sure("Stop this conversation?", "All its tasks end, and later ones are refused.", "Stop it"))) return;
    await post("/api/conversations/cancel", { conversation: found.tree.id }).catch((error) => facts.after(wrong(error)));
    await load();
  };

  const draw = () => {
    const root = found.tree;
    const rows = [...flat(root.children ?? [], all.checked, closed, "", 1)];
    if (!rows.length) return replace(tree, empty("Nothing is on record", "The log no longer has this conversation."));
    const begin = new Date(root.began).getTime();
    const end = Math.max(...rows.map(({ node }) => new Date(node.ended ?? (root.ended ?? Date.now())).getTime()), begin + 1);
    replace(axis, Array.from({ length: TICKS }, (_, index) => tick(index / TICKS, index ? span((end - begin) * index / TICKS) : "0")));
    const paths = rows.map(({ path }) => path);
    if (!paths.includes(focused)) focused = paths.find((path, index) => rows[index].node.id === found.asked) ?? paths[0];
    const had = tree.contains(document.activeElement);
    replace(tree, rows.map((each) => line(each, begin, end, { chosen, focused, closed: closed.has(each.path), pick, turn })));
    if (had) tree.querySelector("[tabindex='0']")?.focus();
    if (!chosen) pick(focused, { quietly: true });
  };

  const at = (path) => path.split(".").reduce((node, index) => node.children[Number(index)], found.tree);
  const pick = (path, { quietly = false } = {}) => {
    chosen = focused = path;
    tree.querySelectorAll("[role=treeitem]").forEach((each) => {
      const is = each.dataset.path === path;
      each.setAttribute("aria-selected", is);
      each.tabIndex = is ? 0 : -1;
      if (is && !quietly) each.focus();
    });
    details(side, at(path), above(path), { signal }).catch((error) => signal.aborted || replace(side, wrong(error)));
    if (!quietly && matchMedia("(max-width: 1000px)").matches) side.scrollIntoView({ block: "start" });
  };
  const above = (path) => path.split(".").slice(0, -1).map((_, index, parts) => at(parts.slice(0, index + 1).join("."))).reverse();
  const turn = (path, close) => {
    closed[(close ?? !closed.has(path)) ? "add" : "delete"](path);
    focused = path;
    draw();
  };
  tree.addEventListener("keydown", (event) => {
    const items = [...tree.querySelectorAll("[role=treeitem]")];
    const here = items.indexOf(document.activeElement);
    if (here < 0) return;
    const item = items[here], { path } = item.dataset;
    const go = (to) => { if (to) { items.forEach((each) => { each.tabIndex = -1; }); to.tabIndex = 0; to.focus(); focused = to.dataset.path; } };
    const keys = {
      ArrowDown: () => go(items[here + 1]), ArrowUp: () => go(items[here - 1]), Home: () => go(items[0]), End: () => go(items.at(-1)),
      ArrowRight: () => (item.getAttribute("aria-expanded") === "false" ? turn(path, false) : go(items[here + 1])),
      ArrowLeft: () => (item.getAttribute("aria-expanded") === "true" ? turn(path, true) : go(items.find((each) => each.dataset.path === path.split(".").slice(0, -1).join(".")))),
      Enter: () => pick(path), " ": () => pick(path),
    };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
  on("changed:tasks", () => { if (found && !found.tree.ended && Date.now() - read > AGAIN) load().catch(() => {}); }, signal);
  await load();
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const between = (a, b) => new Date(b) - new Date(a);
const number = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function tick(place, text) {
  const element = h("span", {}, text);
  element.style.setProperty("left", `${place * 100}%`);
  return element;
}

// The rows that are shown, each with its way from the root: "0.2.1".
function* flat(nodes, all, closed, before, level) {
  for (const [index, node] of nodes.entries()) {
    if (!all && QUIET.has(node.kind)) continue;
    const path = before ? `${before}.${index}` : String(index);
    const children = (node.children ?? []).filter((each) => all || !QUIET.has(each.kind));
    yield { node, path, level, parent: children.length > 0 };
    if (children.length && !closed.has(path)) yield* flat(node.children, all, closed, path, level + 1);
  }
}

function line({ node, path, level, parent }, begin, end, { chosen, focused, closed, pick, turn }) {
  const took = node.ended ? between(node.began, node.ended) : null;
  const label = `${NAMES[node.kind] ?? node.kind} ${node.name ?? ""}${node.status ? `, ${node.status}` : ""}${took === null ? "" : `, ${span(took)}`}${node.text ? `: ${node.text}` : ""}`;
  const name = h("span", { class: "name" },
    h("span", { class: `twist${parent ? (closed ? " closed" : " open") : ""}`, "aria-hidden": "true", onclick: (event) => { if (parent) { event.stopPropagation(); turn(path); } } }),
    h("span", { class: `kind ${node.kind} ${node.status ?? ""}` }, NAMES[node.kind] ?? node.kind),
    h("span", { class: "strong" }, node.name ?? ""), h("span", { class: "text muted" }, node.text ?? ""));
  name.style.setProperty("padding-left", `${Math.min(level - 1, 12) * 14}px`);
  return h("div", { class: "line", role: "treeitem", "aria-level": level, "aria-selected": String(path === chosen), "aria-expanded": parent ? String(!closed) : null, "aria-label": label, tabindex: path === focused ? 0 : -1, "data-path": path, onclick: () => pick(path) },
    name, h("span", { class: "track" }, bars(node, begin, end), h("span", { class: "took" }, took === null ? "…" : took > 0 ? span(took) : "")));
}

function bars(node, begin, end) {
  const place = (at) => (new Date(at) - begin) / (end - begin) * 100;
  const bar = (from, to, kind) => {
    const element = h("span", { class: `bar ${kind}` });
    element.style.setProperty("left", `${place(from)}%`);
    element.style.setProperty("width", `max(3px, ${place(to) - place(from)}%)`);
    return element;
  };
  const ended = node.ended ?? new Date(end).toISOString();
  const started = node.started ?? node.began;
  return [node.started && between(node.began, node.started) > 0 && bar(node.began, started, "queued"), bar(started, ended, `${node.kind} ${node.status ?? ""}`)];
}
