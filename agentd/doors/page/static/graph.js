// The graph of agents, subjects and tools, and what moves along its edges.

const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const DOT = 850; // milliseconds that a message takes along one edge
const HOT = 1200; // milliseconds that an edge stays lit
const MOST_DOTS = 60;

let library = null;

async function cytoscape() {
  if (!library) {
    const [{ default: core }, { default: dagre }] = await Promise.all([import("./vendor/cytoscape.js"), import("./vendor/cytoscape-dagre.js")]);
    core.use(dagre);
    library = core;
  }
  return library;
}

// The colours of the style sheet, as they are now. A canvas cannot read them itself, nor
// `light-dark()`: so a computed colour is asked for.
function colours() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const found = {};
  for (const name of ["text", "muted", "line", "edge", "surface", "accent", "ok", "warn", "bad", "task", "fact"]) {
    probe.style.setProperty("color", `var(--${name})`);
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

const style = (c, font) => [
  { selector: "node", style: {
    label: "data(text)", "font-family": font, "font-size": 12, color: c.text, "text-valign": "center", "text-halign": "center",
    "text-wrap": "wrap", "line-height": 1.35, shape: "round-rectangle", "corner-radius": 8, width: "data(width)", height: "data(height)",
    "background-color": c.surface, "border-width": 1, "border-color": c.line, "transition-property": "border-color, background-color", "transition-duration": 250,
  } },
  { selector: "node[kind='agent']", style: { "font-weight": 600, "font-size": 13, "border-width": 1.5, "border-color": c.edge } },
  { selector: "node[kind='agent'].busy", style: { "border-color": c.accent, "border-width": 2 } },
  { selector: "node[kind='agent'].bad", style: { "border-color": c.bad, "border-width": 2 } },
  { selector: "node[?missing]", style: { "border-style": "dashed", color: c.muted } },
  { selector: "node[kind='task'], node[kind='trigger']", style: { "font-size": 11, color: c.task, "corner-radius": 14 } },
  { selector: "node[kind='result'], node[kind='event']", style: { "font-size": 11, color: c.fact, "corner-radius": 14 } },
  { selector: "node[kind='tool'], node[kind='model']", style: { "font-size": 11, color: c.muted, shape: "cut-rectangle", "corner-radius": 5 } },
  { selector: "node.hot", style: { "border-color": c.accent } },
  { selector: "node:selected", style: { "border-color": c.accent, "border-width": 2.5 } },
  { selector: "edge", style: {
    width: 1.25, "line-color": c.edge, "target-arrow-color": c.edge, "target-arrow-shape": "triangle", "arrow-scale": 0.75, "curve-style": "bezier",
    "transition-property": "line-color, target-arrow-color, width", "transition-duration": 250,
    "source-label": "data(first)", "target-label": "data(last)", "source-text-offset": 19, "target-text-offset": 19, "font-family": font, "font-size": 10.5, color: c.muted, "text-wrap": "wrap", "line-height": 1.3,
    "text-background-color": c.surface, "text-background-opacity": 1, "text-background-padding": 3,
  } },
  { selector: "edge.hot", style: { color: c.text } },
  { selector: "edge[kind='hears'], edge[kind='joins'], edge[kind='answers']", style: { "line-style": "dashed", "line-dash-pattern": [5, 4] } },
  { selector: "edge[kind='calls']", style: { "line-style": "dotted" } },
  { selector: "edge.hot", style: { "line-color": c.accent, "target-arrow-color": c.accent, width: 2 } },
];

export async function draw(place, { nodes, edges }, { chosen, signal }) {
  const core = await cytoscape();
  if (signal.aborted) return null;
  const font = getComputedStyle(document.body).fontFamily;
  const elements = [
    ...nodes.map((node) => ({ data: { ...node, ...shape(node.kind, node.label) } })),
    ...edges.map((edge) => ({ data: { ...labels(edge, edges), id: `${edge.source}>${edge.target}>${edge.kind}` } })),
  ];
  const cy = core({
    container: place, elements, style: style(colours(), font), minZoom: 0.2, maxZoom: 1.8, autoungrabify: true, boxSelectionEnabled: false,
    layout: { name: "preset" },
  });
  arrange(cy, edges.some((edge) => edge.text));
  const settle = () => {
    cy.resize();
    cy.fit(undefined, 20);
    if (cy.zoom() > 1.25) { cy.zoom(1.25); cy.center(); }
  };
  settle();
  // A page scrolls; it does not zoom by accident.
  cy.userZoomingEnabled(false);
  place.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const at = place.getBoundingClientRect();
    cy.zoom({ level: cy.zoom() * Math.exp(-event.deltaY / 300), renderedPosition: { x: event.clientX - at.left, y: event.clientY - at.top } });
  }, { passive: false, signal });
  cy.on("tap", "node[kind='agent']", (event) => chosen(event.target.data("label")));
  cy.on("mouseover", "node[kind='agent']", () => place.style.setProperty("cursor", "pointer"));
  cy.on("mouseout", "node", () => place.style.setProperty("cursor", ""));
  const sized = new ResizeObserver(settle);
  sized.observe(place);
  const moving = flows(place, cy, () => colours().accent);
  signal.addEventListener("abort", () => { sized.disconnect(); moving.end(); cy.destroy(); });
  return {
    agent(name, text, state) {
      const node = cy.getElementById(`agent:${name}`);
      if (!node.length) return;
      node.data("text", text);
      node.removeClass("busy bad").addClass(state);
    },
    recolour: () => cy.style(style(colours(), font)),
    fit: settle,
    zoom: (by) => cy.zoom({ level: cy.zoom() * by, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } }),
    message: (message) => follow(cy, message, moving.along),
  };
}

// From left to right or from top to bottom, whichever lets the graph be larger.
function arrange(cy, labelled) {
  const run = (rankDir, rankSep, nodeSep) => {
    cy.layout({ name: "dagre", rankDir, rankSep, nodeSep, edgeSep: 24, fit: false, animate: false }).run();
    const box = cy.elements().boundingBox();
    return Math.min(cy.width() / box.w, cy.height() / box.h);
  };
  const wide = () => run("LR", labelled ? 104 : 40, 22);
  const high = () => run("TB", labelled ? 64 : 36, labelled ? 40 : 18);
  if (cy.nodes().length > 400 || high() < wide()) return;
  high();
}

// Where many arrows part, each has its name at its end; where many meet, at its beginning.
function labels(edge, edges) {
  const parting = edges.filter((each) => each.text && each.source === edge.source).length;
  const meeting = edges.filter((each) => each.text && each.target === edge.target).length;
  const back = edges.some((each) => each.text && each.source === edge.target && each.target === edge.source);
  const text = edge.text ?? "";
  const begins = parting < meeting && !back;
  return { ...edge, first: begins ? text : "", last: begins ? "" : text };
}

function shape(kind, label) {
  const text = label.length > 34 ? `${label.slice(0, 33)}…` : label;
  const per = kind === "agent" ? 7.6 : 6.3;
  return kind === "agent"
    ? { text: `${text}\n `, width: Math.max(124, text.length * per + 28), height: 46 }
    : { text, width: text.length * per + 22, height: 26 };
}

// --- what moves ----------------------------------------------------------------------------------

// The edges that a message goes along: from its sender, and on to those who get it.
function follow(cy, message, along) {
  const { type, domain, specificity, agent, topic } = message;
  const from = cy.getElementById(`agent:${agent}`);
  if (type === "event" && domain === "run") {
    for (const name of message.tools ?? []) along(from.edgesTo(tools(cy, name)), 0);
  } else if (type === "task" && topic.startsWith("_agent.")) {
    const to = cy.getElementById(`agent:${specificity}`);
    heat(to);
    along(from.edgesTo(to), 0);
  } else if (type !== "dlq") {
    if (type === "result") heat(from);
    const nodes = cy.nodes(`[kind='${type}']`).filter((node) => fits(node.data("label"), message));
    heat(nodes);
    const first = from.outgoers("edge").filter((edge) => edge.data("subjects")?.some((each) => fits(each, message))).union(from.edgesTo(nodes));
    along(first, 0);
    // What comes from outside begins at the subject.
    along(nodes.outgoers("edge"), first.length ? 1 : 0);
  }
}

// Whether a message is of a subject such as `task.research.*`.
function fits(label, { type, topic }) {
  const [kind, one, two] = label.split(".");
  const [domain, specificity] = topic.split(".");
  return kind === type && (one === "*" || one === domain) && (two === "*" || two === undefined || two === specificity);
}

const tools = (cy, name) => cy.nodes().filter((node) => (node.data("kind") === "tool" && node.data("label").split(/[.: ]/).includes(name)) || node.data("id") === `agent:${name}`);

function heat(elements) {
  elements.addClass("hot");
  setTimeout(() => elements.removeClass("hot"), HOT);
}

// Dots on a canvas over the graph. They end by themselves, and nothing is drawn while none moves.
function flows(place, cy, colour) {
  const canvas = document.createElement("canvas");
  canvas.className = "flows";
  canvas.setAttribute("aria-hidden", "true");
  place.append(canvas);
  const pen = canvas.getContext("2d");
  let dots = [], frame = 0;
  const step = (now) => {
    const scale = devicePixelRatio;
    const [width, height] = [cy.width(), cy.height()];
    if (canvas.width !== Math.round(width * scale)) [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = colour();
    dots = dots.filter((dot) => now < dot.begin + DOT && !dot.edge.removed());
    for (const dot of dots) {
      const t = (now - dot.begin) / DOT;
      if (t < 0) continue;
      const eased = t < 0.5 ? 2 * t * t : 1 - (2 - 2 * t) ** 2 / 2;
      const [a, b] = [dot.edge.renderedSourceEndpoint(), dot.edge.renderedTargetEndpoint()];
      pen.globalAlpha = Math.min(1, 6 * Math.min(t, 1 - t));
      pen.beginPath();
      pen.arc(a.x + (b.x - a.x) * eased, a.y + (b.y - a.y) * eased, Math.max(2.5, 4 * cy.zoom()), 0, 7);
      pen.fill();
    }
    frame = dots.length ? requestAnimationFrame(step) : 0;
  };
  return {
    along(edges, after) {
      const begin = performance.now() + after * DOT * 0.8;
      setTimeout(() => cy.destroyed() || heat(edges), after * DOT * 0.8);
      if (CALM.matches || document.hidden) return;
      edges.forEach((edge) => { if (dots.length < MOST_DOTS) dots.push({ edge, begin }); });
      frame ||= requestAnimationFrame(step);
    },
    end: () => cancelAnimationFrame(frame),
  };
}
