// One task, as far as it has come.

import { get } from "../api.js";
import { badge, code, empty, h, pretty, replace, short } from "../dom.js";
import { on } from "../live.js";

export async function show({ view, signal, rest, title }) {
  const [id] = rest;
  if (!id) return replace(view, empty("Choose a task", "A task of the topology's feed opens here."));
  title(`Task ${short(id)}`);
  const load = async () => {
    const task = await get(`/api/tasks/${encodeURIComponent(id)}`, { signal });
    const { result } = task;
    replace(view, h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, "State"), h("dd", {}, badge(task.state, result && !result.success ? "bad" : "quiet"))),
      h("div", {}, h("dt", {}, "Id"), h("dd", {}, h("code", {}, id))),
      result && h("div", {}, h("dt", {}, "Agent"), h("dd", {}, h("a", { href: `#/agents/${result.agent}` }, result.agent)))),
      result && code(result.success ? result.data : result.error, "Result"));
  };
  on("changed:tasks", () => load().catch(() => {}), signal);
  await load();
}
