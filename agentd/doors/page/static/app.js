// The page: who is here, where they are, and what is around every view.

import { get, hasKey, useKey } from "./api.js";
import { badge, h, icon, replace, say, wrong } from "./dom.js";
import { end, live, on, start } from "./live.js";

// The way, the name, the right that it needs, and the module of each view.
const VIEWS = [
  ["", "Topology", "read", "topology"],
  ["ask", "Ask", "ask", "ask"],
  ["tasks", "Tasks", "read", "tasks"],
  ["waiting", "Waiting", "approve", "waiting"],
  ["letters", "Dead letters", "read", "letters"],
  ["schedules", "Schedules", "read", "schedules"],
  ["agents", "Agents", "read", "agents"],
  ["costs", "Costs", "read", "costs"],
  ["audit", "Audit", "read", "audit"],
];
const COUNTED = { waiting: "approvals", letters: "letters" };
const ALL = new Set(["tasks", "costs"]); // they show what all agents did
const THEMES = ["light dark", "light", "dark"];

const page = document.getElementById("page");
let leave = null; // ends the view that is shown

async function begin() {
  theme(stored());
  try {
    live.me = await get("/api/me");
  } catch (error) {
    if (error.status === 401) return login(hasKey() ? error : null);
    if (error.status && error.code !== "starting") return replace(page, h("main", { id: "main", class: "alone" }, wrong(error)));
    replace(page, h("main", { id: "main", class: "alone" }, h("p", { class: "note" }, "agentd is starting…")));
    return setTimeout(begin, 1000);
  }
  shell();
  start();
  show();
}

// --- the way in ----------------------------------------------------------------------------------

function login(error) {
  end();
  leave?.abort();
  const field = h("input", { id: "key", type: "password", autocomplete: "current-password", required: true, spellcheck: "false", placeholder: "agentd_…" });
  const keep = h("input", { id: "keep", type: "checkbox" });
  const enter = (event) => {
    event.preventDefault();
    useKey(field.value.trim(), { keep: keep.checked });
    begin();
  };
  replace(page, h("main", { id: "main", class: "alone" },
    h("form", { class: "card login", onsubmit: enter },
      h("h1", {}, "agentd"),
      h("p", { class: "muted" }, "This agentd needs a key. ", h("code", {}, "agentd keys add NAME"), " makes one."),
      error && wrong(error),
      h("label", { for: "key" }, "Key"), field,
      h("label", { class: "check", for: "keep" }, keep, "Remember it in this browser"),
      h("button", { class: "primary" }, "Sign in"))));
  document.title = "Sign in · agentd";
  field.focus();
}

function logout() {
  useKey("", { keep: false });
  live.me = null;
  begin();
}

// --- around the views ----------------------------------------------------------------------------

function shell() {
  const me = live.me;
  const links = VIEWS.filter(([way, , right]) => (me.may.includes(right) || (right === "approve" && me.may.includes("read"))) && !(me.agents && ALL.has(way)))
    .map(([way, name, , module]) => h("a", { href: `#/${way}`, "data-way": way }, icon(module), h("span", {}, name), h("span", { class: "count", "data-count": way })));
  const menu = h("button", { class: "plain menu", "aria-expanded": "false", "aria-controls": "nav", "aria-label": "Menu", onclick: () => open(!nav.classList.contains("open")) }, icon("menu"));
  const nav = h("nav", { id: "nav", "aria-label": "Views" }, links,
    h("div", { class: "foot" },
      h("p", { class: "line state" }, h("span", { class: "dot" }), h("span", { id: "state" }, "Connecting…")),
      h("p", { class: "line muted" }, me.name === "local" ? "this machine" : me.name, h("span", { class: "grow" }),
        h("button", { class: "plain small", title: "Light, dark, or as the system has it", "aria-label": "Change the theme", onclick: turn }, icon("theme")),
        hasKey() && h("button", { class: "plain small", title: "Sign out", "aria-label": "Sign out", onclick: logout }, icon("out")))));
  const open = (is) => {
    nav.classList.toggle("open", is);
    menu.setAttribute("aria-expanded", is);
  };
  nav.addEventListener("click", (event) => event.target.closest("a") && open(false));
  nav.addEventListener("keydown", (event) => event.key === "Escape" && (open(false), menu.focus()));
  replace(page, h("div", { class: "shell" },
    h("header", { class: "top" }, h("a", { href: "#/", class: "brand", "aria-label": "agentd, topology" }, h("img", { src: "/page/icon.svg", alt: "", width: "22", height: "22" }), "agentd"), badge(me.env, "quiet"), h("span", { class: "grow" }), menu),
    nav, h("main", { id: "main", tabindex: "-1" })));
}

on("state", (is) => {
  const state = document.getElementById("state");
  if (!state) return;
  state.textContent = is ? "Live" : "Reconnecting…";
  state.previousSibling.className = `dot ${is ? "ok" : "warn"}`;
});

on("counts", (counts) => {
  for (const [way, name] of Object.entries(COUNTED)) {
    const place = document.querySelector(`[data-count="${way}"]`);
    if (place) place.textContent = counts[name] ? String(counts[name]) : "";
  }
});

const stored = () => { try { return localStorage.getItem("agentd-theme") ?? THEMES[0]; } catch { return THEMES[0]; } };

function theme(name) {
  document.documentElement.style.setProperty("color-scheme", name);
  document.documentElement.dataset.theme = name;
}

function turn() {
  const next = THEMES[(THEMES.indexOf(stored()) + 1) % THEMES.length];
  try { localStorage.setItem("agentd-theme", next); } catch { /* it lasts as long as the page */ }
  theme(next);
  say(`Theme: ${next === THEMES[0] ? "as the system has it" : next}`);
  live.dispatchEvent(new CustomEvent("theme"));
}

// --- the views -----------------------------------------------------------------------------------

// The way is `#/tasks/ID?state=failed`: the view, what follows its name, and its fields.
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [way, ...rest] = path.split("/").map(decoded);
  return { way, rest, query: new URLSearchParams(query ?? "") };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // an address that somebody has typed
  }
}

async function show() {
  if (!live.me) return;
  leave?.abort();
  leave = new AbortController();
  const { signal } = leave;
  const { way, rest, query } = place();
  const [, name, , module] = VIEWS.find(([each]) => each === way) ?? VIEWS[0];
  document.querySelectorAll("#nav a").forEach((link) => link.toggleAttribute("aria-current", link.dataset.way === way));
  document.querySelectorAll("#nav a[aria-current]").forEach((link) => link.setAttribute("aria-current", "page"));
  const main = document.getElementById("main");
  const title = h("h1", { tabindex: "-1" }, name);
  const view = h("div", { class: `view ${module}` });
  const actions = h("div", { class: "actions" });
  const head = h("div", { class: "head" }, title, actions);
  replace(main, head, view);
  document.title = `${name} · agentd`;
  const into = { view, actions, signal, rest, query, title: (text) => { title.textContent = text; document.title = `${text} · agentd`; } };
  try {
    const shown = await import(`./views/${module}.js`);
    if (!signal.aborted) await shown.show(into);
  } catch (error) {
    if (!signal.aborted) replace(view, wrong(error));
  }
  if (!signal.aborted && document.activeElement === document.body) title.focus({ preventScroll: true });
}

addEventListener("hashchange", () => {
  document.activeElement?.blur?.();
  scrollTo(0, 0);
  show();
});
addEventListener("locked", (event) => live.me && login(event.detail));
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select")) return;
  const search = document.querySelector("input[type=search]");
  if (search) {
    event.preventDefault();
    search.focus();
  }
});
begin();
