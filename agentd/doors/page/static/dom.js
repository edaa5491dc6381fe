// Elements, and texts for people. Every text becomes a text node: there is no other way in.

const SVG = "http://www.w3.org/2000/svg";

// Makes an element: h("a", {href: "#/", class: "x", onclick: f}, "text", child, [more]).
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

// The same for SVG.
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

// Says something to a screen reader.
export function say(text) {
  document.getElementById("said").textContent = text;
}

// --- texts ---------------------------------------------------------------------------------------

export const short = (id) => (/^[0-9a-f]{20,}$/.test(id) ? id.slice(0, 8) : id);

export const count = (number) => (number === null || number === undefined ? "–" : number.toLocaleString("en"));

export const many = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

// 1234567 as 1.2M.
export function brief(number) {
  if (number === null || number === undefined) return "–";
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(number);
}

export function money(usd) {
  if (usd === null || usd === undefined) return "–";
  if (usd === 0) return "$0";
  return usd < 0.01 ? `$${usd.toPrecision(2).replace(/e.*/, "")}`.slice(0, 8) : `$${usd.toFixed(usd < 1 ? 4 : 2)}`;
}

// Milliseconds in words.
export function span(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 1) return "<1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.round((ms % 60_000) / 1000)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// How long ago, or how soon, something is.
export function ago(at) {
  const ms = Date.now() - new Date(at).getTime();
  if (Number.isNaN(ms)) return String(at);
  const text = span(Math.abs(ms) < 60_000 ? Math.round(Math.abs(ms) / 1000) * 1000 : Math.abs(ms)).replace(/ \d+ s$/, "").replace(/\.\d+/, "");
  if (Math.abs(ms) < 1500) return "now";
  return ms > 0 ? `${text} ago` : `in ${text}`;
}

// A time with its exact value in the tooltip.
export function when(at) {
  const moment = new Date(typeof at === "number" ? at * 1000 : at);
  if (Number.isNaN(moment.getTime())) return h("span", {}, String(at ?? "–"));
  return h("time", { datetime: moment.toISOString(), title: moment.toLocaleString() }, ago(moment));
}

export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

export const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2) ?? "");

// --- parts ---------------------------------------------------------------------------------------

export const icon = (name) => s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: ICONS[name] ?? "" }));

const ICONS = {
  topology: "M7 12h4m0 0 6-5m-6 5 6 5M3 10h4v4H3zM17 4h4v4h-4zM17 16h4v4h-4z",
  ask: "M4 5h16v11H9l-5 4z",
  tasks: "M9 6h11M9 12h11M9 18h11M4 6h.01M4 12h.01M4 18h.01",
  waiting: "M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  letters: "M3 6h18v12H3zM3 7l9 6 9-6",
  schedules: "M4 6h16v14H4zM4 10h16M8 3v4m8-4v4",
  agents: "M7 9h10v9H7zM12 5v4M10 13h.01M14 13h.01M4 12v3m16-3v3",
  costs: "M4 19V5m0 14h16M8 15v-4m4 4V8m4 7v-6",
  audit: "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9 12l2 2 4-4",
  menu: "M4 7h16M4 12h16M4 17h16",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  out: "M14 4h5v16h-5M4 12h11m-4-4 4 4-4 4",
};

export const badge = (text, kind = "") => h("span", { class: `badge ${kind}` }, text);

export const dot = (kind, label) => h("span", { class: `dot ${kind}`, role: "img", "aria-label": label ?? kind, title: label ?? kind });

export const empty = (title, text, more) => h("div", { class: "empty" }, h("p", { class: "strong" }, title), text && h("p", {}, text), more);

export const wrong = (error) => h("div", { class: "problem", role: "alert" }, h("p", { class: "strong" }, error.title ?? "That did not work"), h("p", {}, error.message));

export const code = (value, name) => h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": name }, pretty(value));

// A table; `columns` are [name, class]; a row is a list of cells.
export function table(name, columns, rows) {
  const head = columns.map(([text, kind]) => h("th", { scope: "col", class: kind }, text));
  const body = rows.map((row) => h("tr", {}, row.map((cell, index) => h("td", { class: columns[index][1], "data-name": columns[index][0] }, cell))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, h("table", {}, h("caption", { class: "unseen" }, name), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

// Asks a person before something that cannot be taken back; resolves to whether they said yes.
export function sure(title, text, yes) {
  const dialog = h("dialog", { "aria-labelledby": "sure" },
    h("form", { method: "dialog" },
      h("h2", { id: "sure" }, title), h("p", {}, text),
      h("div", { class: "buttons" }, h("button", { value: "no", class: "plain" }, "Cancel"), h("button", { value: "yes", class: "danger" }, yes))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue === "yes");
  }));
}
