"""A graph as a picture for people: agents, and the messages that pass between them.

A subject that leads from one agent to another is the label of an arrow. Models, tools and
capabilities are lines in the box of their agent. So six agents are six boxes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from agentd.catalog.topology.graph import Edge, Graph, Node
from agentd.manifest.json_schema.summary import in_short

# Facts are dashed and tasks are solid lines, as a fact has any number of receivers.
_DASHED = ("result", "event")
_INSIDE = ("model", "tool")  # kinds of nodes that are drawn in the box of an agent
_MERMAID_SHAPES = {"agent": ("[", "]"), "task": ("([", "])")}
_DOT_SHAPES = {"agent": "box", "task": "cds"}


@dataclass(frozen=True, order=True)
class Arrow:
    """An arrow between two nodes, with the lines of its label."""

    source: str
    target: str
    dashed: bool
    label: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """Boxes with the lines of their text, and arrows; sorted, so that equal graphs look equal."""

    boxes: tuple[tuple[Node, tuple[str, ...]], ...]
    arrows: tuple[Arrow, ...]

    @classmethod
    def of(cls, graph: Graph) -> Picture:
        """The picture of a graph."""
        nodes = {node.id: node for node in graph.nodes}
        arrows = _merged(_arrows(graph, nodes))
        ends = {end for arrow in arrows for end in (arrow.source, arrow.target)}
        drawn = [node for node in graph.nodes if node.kind == "agent" or node.id in ends]
        return cls(tuple((node, _text(node, graph, nodes)) for node in drawn), arrows)

    def as_mermaid(self) -> str:
        """A flowchart in the language of Mermaid: https://mermaid.js.org."""
        # Mermaid does not accept `:` and `.` in identifiers.
        names = {node.id: f"n{number}" for number, (node, _) in enumerate(self.boxes)}
        lines = ["flowchart LR"]
        for node, text in self.boxes:
            left, right = _MERMAID_SHAPES.get(node.kind, ("(", ")"))
            lines.append(f'    {names[node.id]}{left}"{_in_mermaid(text)}"{right}')
        for arrow in self.arrows:
            shaft = "-.->" if arrow.dashed else "-->"
            label = f'|"{_in_mermaid(arrow.label)}"|'
            lines.append(f"    {names[arrow.source]} {shaft}{label} {names[arrow.target]}")
        missing = [names[node.id] for node, _ in self.boxes if node.missing]
        if missing:
            lines += ["    classDef missing stroke-dasharray: 5 5"]
            lines += [f"    class {','.join(missing)} missing"]
        return "\n".join(lines)

    def as_dot(self) -> str:
        """A digraph in the language DOT of Graphviz: https://graphviz.org/doc/info/lang.html."""
        lines = ["digraph agentd {", "  rankdir=LR;", '  node [fontname="sans-serif"];']
        for node, text in self.boxes:
            shape = _DOT_SHAPES.get(node.kind, "note") + (", style=dashed" if node.missing else "")
            lines.append(f"  {_in_dot((node.id,))} [label={_in_dot(text)}, shape={shape}];")
        for arrow in self.arrows:
            style = ", style=dashed" if arrow.dashed else ""
            ends = f"{_in_dot((arrow.source,))} -> {_in_dot((arrow.target,))}"
            lines.append(f"  {ends} [label={_in_dot(arrow.label)}{style}];")
        return "\n".join([*lines, "}"])


def _arrows(graph: Graph, nodes: dict[str, Node]) -> Iterator[Arrow]:
    """An arrow for each way from an agent to an agent, or to or from what is outside."""
    into: defaultdict[str, list[Edge]] = defaultdict(list)
    out_of: defaultdict[str, list[Edge]] = defaultdict(list)
    for edge in graph.edges:
        into[edge.target].append(edge)
        out_of[edge.source].append(edge)
    for node in graph.nodes:
        if node.kind == "trigger":
            yield from (Arrow(e.source, e.target, False, (_label(e),)) for e in out_of[node.id])
        elif node.kind == "agent":
            asked = (edge for edge in out_of[node.id] if nodes[edge.target].kind == "agent")
            yield from (Arrow(e.source, e.target, False, (_label(e),)) for e in asked)
        elif node.kind not in _INSIDE:
            yield from _through(node, into[node.id], out_of[node.id])


def _through(subject: Node, into: list[Edge], out_of: list[Edge]) -> Iterator[Arrow]:
    """The arrows of a subject. What an agent takes from outside is a line in its box."""
    dashed = subject.kind in _DASHED
    for edge in into:
        if not out_of:  # nobody here takes it
            yield Arrow(edge.source, subject.id, dashed, (_label(edge),))
        for onward in out_of:
            how = ", ".join(filter(None, [edge.label, _joining(onward)]))
            text = f"{subject.label}: {how}" if how else subject.label
            yield Arrow(edge.source, onward.target, dashed, (text,))
    if not into and dashed:  # another program publishes it
        for edge in out_of:
            yield Arrow(subject.id, edge.target, dashed, (_joining(edge) or edge.kind,))


def _joining(edge: Edge) -> str:
    return f"joins {edge.label}".rstrip() if edge.kind == "joins" else ""


def _label(edge: Edge) -> str:
    return f"{edge.kind}: {edge.label}" if edge.label else edge.kind


def _merged(arrows: Iterator[Arrow]) -> tuple[Arrow, ...]:
    """One arrow for all that passes between two nodes."""
    labels: defaultdict[tuple[str, str, bool], dict[str, None]] = defaultdict(dict)
    for arrow in arrows:
        labels[arrow.source, arrow.target, arrow.dashed] |= dict.fromkeys(arrow.label)
    return tuple(sorted(Arrow(*ends, tuple(sorted(texts))) for ends, texts in labels.items()))


def _text(node: Node, graph: Graph, nodes: dict[str, Node]) -> tuple[str, ...]:
    """The lines in a box: the name, the state, what an agent takes, its model and tools."""
    lines = [node.label, *([node.note] if node.note else [])]
    if node.kind != "agent":
        return tuple(lines)
    taken = [e.source for e in graph.edges if e.target == node.id and e.kind == "takes"]
    domains = dict.fromkeys(
        nodes[each].label.split(".")[1] for each in taken if each.endswith(".*")
    )
    lines += [f"takes {' '.join(domains)}"] if domains else []
    lines += [f"accepts {in_short(node.accepts)}"] if node.accepts is not None else []
    lines += [
        nodes[edge.target].label
        for edge in graph.edges
        if edge.source == node.id and nodes[edge.target].kind in _INSIDE
    ]
    return tuple(lines)


def _in_mermaid(lines: tuple[str, ...]) -> str:
    """Text inside quotes. Mermaid has no escapes, only entities such as `#34;`."""
    return "<br>".join(
        "".join(c if c.isalnum() or c in " .,:_-*@/·" else f"#{ord(c)};" for c in line)
        for line in lines
    )


def _in_dot(lines: tuple[str, ...]) -> str:
    text = "\n".join(lines)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
