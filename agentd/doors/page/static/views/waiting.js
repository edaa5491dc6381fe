// What waits for a person: tool calls to approve, edit or deny, and questions to answer.

import { get, post } from "../api.js";
import { ago, badge, code, empty, h, pretty, replace, say, short, wrong } from "../dom.js";
import { live, on, recount } from "../live.js";

export async function show({ view, signal }) {
  const shown = new Map(); // by task, so that a card with something typed in it stays
  const list = h("div", { class: "cards" });
  replace(view, list);
  const load = async () => {
    const { approvals } = await get("/api/approvals", { signal });
    const keys = new Set(approvals.map(keyOf));
    for (const key of shown.keys()) if (!keys.has(key)) { shown.get(key).remove(); shown.delete(key); }
    if (!approvals.length) return replace(list, empty("Nobody waits for you", "Tool calls that need an approval, and questions of agents, appear here."));
    list.querySelector(".empty")?.remove();
    for (const each of approvals) {
      if (shown.has(keyOf(each))) continue;
      const made = card(each, () => load().catch(() => {}));
      shown.set(keyOf(each), made);
      list.append(made);
    }
  };
  on("changed:approvals", () => load().catch(() => {}), signal);
  await load();
}

const keyOf = (request) => `${request.task} ${request.turn}`;

function card(request, again) {
  const problem = h("div", {});
  const may = live.may("approve");
  const decide = async (body) => {
    replace(problem);
    try {
      const { undecided } = await post(`/api/approvals/${request.task}`, body);
      say(undecided ? `Decided. ${undecided} more to decide.` : "Decided. The task goes on.");
    } catch (error) {
      replace(problem, wrong(error));
    }
    recount();
    again();
  };
  const soon = new Date(request.expires) - Date.now() < 3_600_000;
  return h("article", { class: "card", "aria-label": `${request.agent} waits` },
    h("header", { class: "row" }, h("h2", {}, h("a", { href: `#/agents/${request.agent}` }, request.agent)), h("a", { class: "muted", href: `#/tasks/${request.task}` }, `Task ${short(request.task)}`),
      h("span", { class: "grow" }), badge(`expires ${ago(request.expires)}`, soon ? "warn" : "quiet")),
    request.calls.map((each) => call(each, request, decide, may)), problem,
    !may && h("p", { class: "muted" }, "This key may not decide: it lacks the right to approve."));
}

function call(each, request, decide, may) {
  return each.question === undefined || each.question === null ? toDecide(each, request, decide, may) : toAnswer(each, decide, may);
}

function toDecide(each, request, decide, may) {
  const reason = h("input", { id: `reason-${request.task}-${each.index}`, placeholder: "Reason (optional)", "aria-label": "Reason", maxlength: "2000" });
  const because = () => (reason.value.trim() ? { reason: reason.value.trim() } : {});
  const shown = code(each.arguments, `Arguments of ${each.name}`);
  const edit = h("textarea", { class: "code", rows: Math.min(12, pretty(each.arguments).split("\n").length + 1), spellcheck: "false", "aria-label": `Arguments of ${each.name}`, value: pretty(each.arguments) });
  const mistake = h("p", { class: "bad", role: "alert" });
  const buttons = h("div", { class: "buttons" });
  const plain = () => replace(buttons,
    h("button", { class: "primary", disabled: !may, onclick: () => decide({ decision: "approve", calls: [each.index], ...because() }) }, "Approve"),
    h("button", { disabled: !may, onclick: () => { shown.replaceWith(edit); edit.focus(); editing(); } }, "Edit…"),
    h("button", { class: "danger", disabled: !may, onclick: () => decide({ decision: "deny", calls: [each.index], ...because() }) }, "Deny"));
  const editing = () => replace(buttons,
    h("button", { class: "primary", onclick: changed }, "Approve with these"),
    h("button", { onclick: () => { edit.replaceWith(shown); mistake.textContent = ""; plain(); } }, "Back"));
  const changed = () => {
    try {
      const given = JSON.parse(edit.value);
      mistake.textContent = "";
      decide({ decision: "edit", calls: [each.index], arguments: given, ...because() });
    } catch (error) {
      mistake.textContent = `This is not JSON: ${error.message}`;
    }
  };
  plain();
  return h("section", { class: "call" }, h("p", {}, "calls ", h("code", {}, each.name)), shown, mistake, h("div", { class: "row wrap" }, reason, buttons));
}

function toAnswer(each, decide, may) {
  const send = (answer) => decide({ decision: "answer", calls: [each.index], answer });
  const field = h("input", { "aria-label": "Answer", placeholder: each.default ? `Otherwise: ${each.default}` : "Your answer", required: true });
  return h("section", { class: "call" }, h("p", { class: "asks" }, each.question),
    each.choices?.length
      ? h("div", { class: "buttons" }, each.choices.map((choice) => h("button", { class: "choice", disabled: !may, onclick: () => send(choice) }, choice)))
      : h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); send(field.value); } }, field, h("button", { class: "primary", disabled: !may }, "Answer")));
}
