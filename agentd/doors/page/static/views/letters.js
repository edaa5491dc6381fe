// Dead letters: what could not be done, why, and what becomes of it.

import { get, post } from "../api.js";
import { badge, code, count, empty, h, many, replace, say, short, sure, when, wrong } from "../dom.js";
import { live, on, recount } from "../live.js";

export async function show({ view, actions, signal }) {
  const problem = h("div", {});
  const list = h("div", { class: "cards" });
  replace(view, problem, list);
  let letters = [];

  const load = async () => {
    const found = await get("/api/dead-letters", { signal });
    letters = found.letters;
    const rest = found.total - letters.length;
    replace(actions, live.may("operate") && letters.length > 1 && [
      h("button", { onclick: () => every("retry") }, `Retry ${many(letters.length, "letter")}`),
      h("button", { class: "danger", onclick: () => every("drop") }, "Drop them")]);
    const open = new Set([...list.querySelectorAll("details[open]")].map((each) => each.dataset.letter));
    replace(list, letters.length ? letters.map((each) => card(each, act, open.has(String(each.letter)))) : empty("No dead letters", "Every task was done, or is still being done."),
      rest > 0 && h("p", { class: "muted" }, `and ${count(rest)} older ones`));
  };
  const act = async (letter, verb) => {
    if (verb === "drop" && !(await sure("Drop this letter?", `The task ${short(letter.task)} is deleted permanently. The record keeps that it existed.`, "Drop it"))) return;
    await done([letter], verb);
  };
  const every = async (verb) => {
    const [title, yes] = verb === "drop" ? ["Drop all that are shown?", "Drop them"] : ["Send all that are shown again?", "Send them"];
    if (await sure(title, many(letters.length, "dead letter"), yes)) await done(letters, verb);
  };
  const done = async (some, verb) => {
    replace(problem);
    let refused = null, number = 0;
    for (const each of some) {
      try {
        await post(`/api/dead-letters/${each.letter}/${verb}`);
        number += 1;
      } catch (error) {
        refused = error;
      }
    }
    if (refused) replace(problem, wrong(refused));
    say(`${many(number, "letter")} ${verb === "drop" ? "dropped" : "sent again"}`);
    recount();
    await load();
  };
  on("changed:letters", () => load().catch(() => {}), signal);
  await load();
}

function card(letter, act, open) {
  const message = h("div", { class: "message" });
  const whole = h("details", { "data-letter": letter.letter, ontoggle: () => whole.open && !message.firstChild && read() }, h("summary", {}, "Original message"), message);
  const read = async () => {
    try {
      const found = await get(`/api/dead-letters/${letter.letter}`);
      replace(message, code(indented(found.message), "Original message"), Object.keys(found.headers).length ? code(found.headers, "Headers") : null);
    } catch (error) {
      replace(message, wrong(error));
    }
  };
  whole.open = open;
  return h("article", { class: "card letter", "aria-label": `Letter ${letter.letter}` },
    h("header", { class: "row wrap" }, badge(letter.reason, "bad"), h("h2", {}, addressed(letter.subject)), h("a", { class: "muted", href: `#/tasks/${letter.task}` }, `Task ${short(letter.task)}`),
      h("span", { class: "grow" }), h("span", { class: "muted" }, many(letter.attempts, "attempt"), " · ", when(letter.buried))),
    h("p", { class: "error" }, letter.error || "No reason was given."),
    h("div", { class: "row wrap" }, h("div", { class: "grow" }, whole),
      live.may("operate") && h("div", { class: "buttons" }, h("button", { onclick: () => act(letter, "retry") }, "Retry"), h("button", { class: "danger", onclick: () => act(letter, "drop") }, "Drop"))));
}

function addressed(subject) {
  const [domain, specificity] = subject.split(".").slice(3);
  return domain === "_agent" ? `@${specificity}` : `${domain}.${specificity}`;
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
