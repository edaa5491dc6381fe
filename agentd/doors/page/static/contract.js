// The graph as people draw it: agents with arrows between them, and the subjects written on the
// arrows. A subject is a node only where nobody sends to it, or nobody here receives it.

const SUBJECTS = new Set(["task", "result", "event"]);

export function contracted({ nodes, edges }) {
  const kind = Object.fromEntries(nodes.map((node) => [node.id, node.kind]));
  const fed = new Set(edges.filter((edge) => edge.source !== edge.target && SUBJECTS.has(kind[edge.source]) && sources(edges, edge.source).length).map((edge) => edge.target));
  const kept = [], gone = new Set(), made = new Map();
  for (const node of nodes) {
    if (!SUBJECTS.has(node.kind)) { kept.push(node); continue; }
    const into = sources(edges, node.id), out = edges.filter((edge) => edge.source === node.id);
    // An agent that others give work to shows no arrow for what may come from outside.
    const outside = node.kind === "task" && !into.length && out.every((edge) => fed.has(edge.target));
    if (outside || (into.length && out.length)) gone.add(node.id);
    else kept.push(node);
    for (const from of into) for (const to of out) join(made, node, from, to);
  }
  const others = edges.filter((edge) => !gone.has(edge.source) && !gone.has(edge.target));
  return { nodes: kept, edges: [...others, ...made.values()].map((edge) => ({ ...edge, text: edge.subjects?.map((each) => each.slice(each.indexOf(".") + 1)).join("\n") ?? "" })) };
}

const sources = (edges, id) => edges.filter((edge) => edge.target === id);

function join(made, node, from, to) {
  const dashed = to.kind !== "takes";
  const key = `${from.source}>${to.target}>${dashed}`;
  const edge = made.get(key) ?? { source: from.source, target: to.target, kind: dashed ? to.kind : "takes", subjects: [] };
  if (!edge.subjects.includes(node.label)) edge.subjects.push(node.label);
  made.set(key, edge);
}
