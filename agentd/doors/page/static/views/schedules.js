// What will be sent later.

import { get, remove } from "../api.js";
import { badge, empty, h, pretty, replace, say, short, sure, table, when, wrong } from "../dom.js";
import { live } from "../live.js";

const OFTEN = 15_000; // milliseconds; no event says that a schedule has changed

export async function show({ view, signal }) {
  const problem = h("div", {});
  const list = h("div", {});
  replace(view, problem, list);
  const load = async () => {
    const { schedules } = await get("/api/schedules", { signal });
    replace(list, schedules.length
      ? table("Schedules", [["Schedule", ""], ["When", ""], ["Next", ""], ["To", ""], ["Content", "wide"], ["", "end"]], schedules.map((each) => row(each, drop)))
      : empty("Nothing is scheduled", "Agents with a schedule, and messages for later, appear here."));
  };
  const drop = async (each) => {
    if (!(await sure("Remove this schedule?", `${short(each.id)} will not be sent.`, "Remove it"))) return;
    try {
      replace(problem);
      await remove(`/api/schedules/${each.id}`);
      say("Removed");
    } catch (error) {
      replace(problem, wrong(error));
    }
    await load();
  };
  const timer = setInterval(() => document.hidden || load().catch(() => {}), OFTEN);
  signal.addEventListener("abort", () => clearInterval(timer));
  await load();
}

function row(each, drop) {
  const agent = each.id.startsWith("@") && each.id.slice(1);
  const changes = each.clock_changes.map((change) => `${change.time.replace("T", " ")} ${change.effect}`).join(", ");
  return [
    agent ? h("a", { href: `#/agents/${agent}` }, each.id) : h("code", { title: each.id }, short(each.id)),
    [h("span", {}, each.when), changes && badge("clock change", "warn"), changes && h("span", { class: "muted" }, ` ${changes}`)],
    each.next ? when(each.next) : "–",
    h("code", {}, each.to),
    h("span", { class: "cut", title: pretty(each.content) }, pretty(each.content)),
    live.may("operate") && !agent && h("button", { class: "small", "aria-label": `Remove ${short(each.id)}`, onclick: () => drop(each) }, "Remove"),
  ];
}
