// What tasks have cost: by day as a chart, and by agent, model or conversation.

import { get } from "../api.js";
import { badge, count, empty, h, money, replace, short, table, brief } from "../dom.js";
import { live, on } from "../live.js";

const GROUPS = [["agent", "Agent"], ["model", "Model"], ["conversation", "Conversation"], ["day", "Day"]];
const AGES = [["1d", "Last day"], ["7d", "Last week"], ["30d", "Last month"], ["", "All"]];
const VALUES = [["cost", "Cost"], ["tokens", "Tokens"], ["tasks", "Tasks"]];

export async function show({ view, actions, signal }) {
  let by = "agent", since = "30d", value = "cost";
  const chart = h("div", { class: "chart card", role: "img", "aria-label": "By day; the table by day says the same" });
  const list = h("div", {});
  const total = h("dl", { class: "numbers" });
  const group = (name, options, chosen, choose) => h("div", { class: "joined", role: "group", "aria-label": name }, options.map(([key, text]) =>
    h("button", { "aria-pressed": String(key === chosen), onclick: (event) => {
      event.currentTarget.parentElement.querySelectorAll("button").forEach((each) => each.setAttribute("aria-pressed", String(each === event.currentTarget)));
      choose(key);
    } }, text)));
  replace(actions, group("Age", AGES, since, (key) => { since = key; load(); }));
  replace(view, total, chart,
    h("div", { class: "row wrap" }, group("What is shown", VALUES, value, (key) => { value = key; draw(); }), h("span", { class: "grow" }), group("By", GROUPS, by, (key) => { by = key; load(); })), list);
  let days = [], groups = [];
  const load = async () => {
    const read = (what) => get(`/api/record/costs?${new URLSearchParams({ by: what, ...(since ? { since } : {}) })}`, { signal }).then((found) => found.costs);
    [days, groups] = await Promise.all([read("day"), read(by)]);
    await draw();
  };
  let plot = null;
  const draw = async () => {
    if (!groups.length) {
      replace(total); replace(chart, empty("Nothing was done", "Costs appear here as soon as a task has a result."));
      return replace(list);
    }
    if (!days.some((each) => each.cost) && value === "cost") value = "tokens", actionsOf(view, "Tokens");
    const sum = (name) => days.reduce((all, each) => all + each[name], 0);
    const fact = (name, text) => h("div", {}, h("dt", {}, name), h("dd", {}, text));
    replace(total, fact("Cost", money(sum("cost"))), fact("Tasks", count(sum("tasks"))), fact("Failed", count(sum("failed"))), fact("Tokens read", brief(sum("tokens_in"))), fact("Tokens written", brief(sum("tokens_out"))));
    plot?.destroy();
    plot = await bars(chart, days, value, signal);
    replace(list, rows(groups, by, value));
  };
  on("theme", () => draw(), signal);
  signal.addEventListener("abort", () => plot?.destroy());
  await load();
}

const actionsOf = (view, text) => view.querySelectorAll("[aria-label='What is shown'] button").forEach((each) => each.setAttribute("aria-pressed", String(each.textContent === text)));

const of = (each, value) => (value === "tokens" ? each.tokens_in + each.tokens_out : each[value]);
const shown = (number, value) => (value === "cost" ? money(number) : brief(number));

function rows(groups, by, value) {
  const most = Math.max(...groups.map((each) => of(each, value)), 1e-9);
  const name = GROUPS.find(([key]) => key === by)[1];
  const bar = (each) => {
    const element = h("span", { class: "share", "aria-hidden": "true" });
    element.style.setProperty("width", `${of(each, value) / most * 100}%`);
    return h("span", { class: "shares" }, element);
  };
  const link = (each) => {
    if (!each.group) return "–";
    if (by === "agent" && live.agents.some((agent) => agent.agent === each.group)) return h("a", { href: `#/agents/${each.group}` }, each.group);
    return by === "conversation" ? h("a", { href: `#/tasks/${encodeURIComponent(each.group)}` }, short(each.group)) : each.group;
  };
  return table(`Costs by ${by}`, [[name, ""], ["", "wide bar"], ["Cost", "number"], ["Tasks", "number"], ["Failed", "number"], ["Tokens read", "number"], ["Tokens written", "number"]],
    groups.toSorted((a, b) => (by === "day" ? 0 : of(b, value) - of(a, value))).slice(0, 200).map((each) => [link(each), bar(each), [money(each.cost), each.unknown > 0 && badge(`${count(each.unknown)} unknown`, "quiet")], count(each.tasks), h("span", { class: each.failed ? "bad" : "" }, count(each.failed)), count(each.tokens_in), count(each.tokens_out)]));
}

async function bars(place, days, value, signal) {
  const { default: Plot } = await import("../vendor/uplot.js");
  if (signal.aborted) return null;
  replace(place);
  const style = getComputedStyle(document.body);
  const colour = (name) => {
    const probe = h("span", {});
    probe.style.setProperty("color", `var(--${name})`);
    place.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const [ink, line, fill] = [colour("muted"), colour("line"), colour("accent")];
  const font = `12px ${style.fontFamily}`;
  const x = days.map((_, index) => index);
  const axis = { stroke: ink, font, grid: { show: false }, ticks: { show: false } };
  const made = new Plot({
    width: place.clientWidth - 32, height: 200, cursor: { show: false }, legend: { show: false },
    scales: { x: { time: false, range: [-0.6, Math.max(days.length, 7) - 0.4] }, y: { range: (_, __, most) => [0, most * 1.1 || 1] } },
    axes: [
      { ...axis, splits: () => x, values: (_, all) => all.map((index) => (days.length > 14 && index % Math.ceil(days.length / 14) ? "" : days[index]?.group.slice(5) ?? "")) },
      { ...axis, size: 64, grid: { stroke: line, width: 1 }, values: (_, all) => all.map((number) => shown(number, value)) },
    ],
    series: [{}, { fill, stroke: fill, width: 0, points: { show: false }, paths: Plot.paths.bars({ size: [0.6, 48], radius: 0.12 }) }],
  }, [x, days.map((each) => of(each, value))], place);
  const sized = new ResizeObserver(() => made.setSize({ width: place.clientWidth - 32, height: 200 }));
  sized.observe(place);
  signal.addEventListener("abort", () => sized.disconnect());
  return made;
}
