// The audit: what the newest checkpoint covers, and whether the log still is what was signed.

import { get, post } from "../api.js";
import { badge, code, count, empty, h, many, replace, say, when, wrong } from "../dom.js";
import { live } from "../live.js";

const OFTEN = 5000; // milliseconds

export async function show({ view, actions, signal }) {
  const state = h("div", { class: "cards" });
  const report = h("div", { class: "cards" });
  replace(view, state, report);
  const button = h("button", { class: "primary", onclick: () => verify() }, "Verify now");
  replace(actions, live.may("operate") && button);
  const load = async () => {
    try {
      const found = await get("/api/audit", { signal });
      const behind = Math.max(0, found.log - found.last);
      replace(state, h("article", { class: "card" },
        h("dl", { class: "facts bare" }, fact("Leaves", count(found.size)), fact("Covers the log up to", count(found.last)), fact("As of", when(found.at)),
          fact("Newer records", [count(behind), " ", badge(behind > 1000 ? "behind" : "up to date", behind > 1000 ? "warn" : "ok")])),
        h("section", {}, h("h2", {}, "Newest checkpoint"), h("p", { class: "muted" }, "Keep a copy where nobody who can change the log can change it."), code(found.note, "Checkpoint")),
        h("section", {}, h("h2", {}, "Public key"), code(found.key, "Public key"))));
    } catch (error) {
      if (error.code === "no_audit") return replace(state, empty("There is no audit yet", error.message));
      if (!signal.aborted) replace(state, wrong(error));
    }
  };
  const verify = async () => {
    button.disabled = true;
    replace(report, h("p", { class: "muted pulse" }, "Comparing every message with the tree…"));
    try {
      replace(report, result(await post("/api/audit/verify")));
      say("Compared");
    } catch (error) {
      replace(report, wrong(error));
    }
    button.disabled = false;
  };
  const timer = setInterval(() => document.hidden || load(), OFTEN);
  signal.addEventListener("abort", () => clearInterval(timer));
  await load();
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function result({ messages, first, last, gone, findings, notes }) {
  const missing = Object.entries(gone);
  return h("article", { class: "card" },
    h("header", { class: "row wrap" }, badge(findings.length ? "something is wrong" : "as it was signed", findings.length ? "bad" : "ok"), h("h2", {}, `${many(messages, "message")} compared, ${count(first)} to ${count(last)}`)),
    findings.length > 0 && h("ul", { class: "plainlist" }, findings.map((each) => h("li", { class: "bad" }, each.sequence ? `${each.sequence}: ` : "", each.text))),
    missing.length > 0 && h("p", { class: "muted" }, missing.map(([why, number]) => `${many(number, "message")} gone: ${why}`).join("; ")),
    notes.map((each) => h("p", { class: "muted" }, each)));
}
