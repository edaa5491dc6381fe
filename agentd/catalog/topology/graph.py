"""The topology as a graph of nodes and edges: as JSON, Mermaid and Graphviz DOT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import Emission, FactSubscription
from agentd.manifest.tools import ToolEntry

NodeKind = Literal["agent", "task", "result", "event", "tool", "model"]
EdgeKind = Literal["takes", "emits", "answers", "hears", "joins", "calls", "asks"]


@dataclass(frozen=True, order=True)
class Node:
    """An agent, a subject (`task.research.*`, `result.…`, `event.…`), a tool or a model.

    `missing` marks an agent that a manifest names, or that runs, but that has no manifest here.
    `note` describes what is known of a running agent.
    """

    id: str
    kind: NodeKind
    label: str
    missing: bool = False
    note: str = ""


@dataclass(frozen=True, order=True)
class Edge:
    """A connection between two nodes; `label` says when it is used, or how often."""

    source: str
    target: str
    kind: EdgeKind
    label: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes and edges, each once, and sorted, so that equal folders give equal texts."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @classmethod
    def of(cls, topology: Topology, default_model: str) -> Graph:
        """The graph of a folder. Agents whose manifest has no model use `default_model`."""
        edges = {e for name in topology.agents for e in _edges(topology, name, default_model)}
        ids = {f"agent:{name}" for name in topology.agents}
        ids |= {end for edge in edges for end in (edge.source, edge.target)}
        return cls(tuple(sorted(_node(each, topology) for each in ids)), tuple(sorted(edges)))

    def noted(self, notes: Mapping[str, str]) -> Graph:
        """This graph with notes on agents. Agents that it does not have are added as missing."""
        known = {node.id for node in self.nodes}
        added = [
            Node(f"agent:{name}", "agent", name, missing=True)
            for name in notes
            if f"agent:{name}" not in known
        ]
        nodes = (
            replace(node, note=notes.get(node.label, "")) if node.kind == "agent" else node
            for node in (*self.nodes, *added)
        )
        return Graph(tuple(sorted(nodes)), self.edges)

    def as_json(self) -> dict[str, Any]:
        """`{"nodes": [...], "edges": [...]}` with the fields of `Node` and `Edge`."""
        return {
            "nodes": [asdict(node) for node in self.nodes],
            "edges": [asdict(edge) for edge in self.edges],
        }

    def as_mermaid(self) -> str:
        """A flowchart in the language of Mermaid: https://mermaid.js.org."""
        # Mermaid does not accept `:` and `.` in identifiers.
        names = {node.id: f"n{number}" for number, node in enumerate(self.nodes)}
        lines = ["flowchart LR"]
        for node in self.nodes:
            left, right = _MERMAID_SHAPES[node.kind]
            lines.append(f'    {names[node.id]}{left}"{_mermaid_label(node)}"{right}')
        for edge in self.edges:
            arrow = "-.->" if edge.kind in _DASHED else "-->"
            label = f'|"{_in_mermaid(_label(edge))}"|'
            lines.append(f"    {names[edge.source]} {arrow}{label} {names[edge.target]}")
        missing = [names[node.id] for node in self.nodes if node.missing]
        if missing:
            lines += ["    classDef missing stroke-dasharray: 5 5"]
            lines += [f"    class {','.join(missing)} missing"]
        return "\n".join(lines)

    def as_dot(self) -> str:
        """A digraph in the language DOT of Graphviz: https://graphviz.org/doc/info/lang.html."""
        lines = ["digraph agentd {", "  rankdir=LR;", '  node [fontname="sans-serif"];']
        for node in self.nodes:
            shape = _DOT_SHAPES[node.kind] + (", style=dashed" if node.missing else "")
            lines.append(f"  {_in_dot(node.id)} [label={_in_dot(_lines(node))}, shape={shape}];")
        for edge in self.edges:
            style = ", style=dashed" if edge.kind in _DASHED else ""
            ends = f"{_in_dot(edge.source)} -> {_in_dot(edge.target)}"
            lines.append(f"  {ends} [label={_in_dot(_label(edge))}{style}];")
        return "\n".join([*lines, "}"])


# Facts are dashed and tasks are solid lines, as a fact has any number of receivers.
_DASHED = ("hears", "joins", "answers")
_MERMAID_SHAPES = {
    "agent": ("[", "]"),
    "task": ("([", "])"),
    "result": ("(", ")"),
    "event": ("(", ")"),
    "tool": ("[/", "/]"),
    "model": ("{{", "}}"),
}
_DOT_SHAPES = {
    "agent": "box",
    "task": "cds",
    "result": "note",
    "event": "note",
    "tool": "component",
    "model": "hexagon",
}


def tool_name(tool: ToolEntry) -> str:
    """The name of a tool: its `name`, or the function, program or kind."""
    if tool.name:
        return tool.name
    if tool.python:
        return tool.python
    if tool.command:
        return " ".join(tool.command.argv[:2])
    if tool.mcp and tool.mcp.command:
        return tool.mcp.command[0]
    return tool.kind


def condition(emission: Emission) -> str:
    """When or how often a message is emitted, in words; "" for exactly one after every answer."""
    rule = emission.rule
    if rule is None:
        return "if the model decides so"
    parts = [f"each of {rule.for_each}"] if rule.for_each else []
    parts += [f"when {rule.when}"] if rule.when else []
    parts += [f"as {rule.choose} says"] if rule.choose else []
    parts += [f"not {' '.join(rule.exclusions)}"] if rule.exclusions else []
    return ", ".join(parts)


def _edges(topology: Topology, name: str, default_model: str) -> Iterator[Edge]:
    manifest, agent = topology.agents[name].manifest, f"agent:{name}"
    # Models of one name at different endpoints are one node.
    models = [model.name for model in manifest.model] or [default_model]
    for number, model in enumerate(dict.fromkeys(models)):
        yield Edge(agent, f"model:{model}", "calls", "" if number == 0 else "or else")
    for capability in manifest.capabilities:
        yield Edge(f"task:{capability}.*", agent, "takes")
    for tool in manifest.tools:
        if not tool.agent:
            yield Edge(agent, f"tool:{tool_name(tool)}", "calls")
            continue
        for answerer in sorted(topology.agents_behind(tool.agent) - {name}) or [tool.agent]:
            yield Edge(agent, f"agent:{answerer}", "asks", tool.gather or "")
    for emission in topology.emissions[name]:
        yield from _emitted(topology, emission)
    for subscription in topology.subscriptions[name]:
        yield from _received(topology, subscription)


def _emitted(topology: Topology, emission: Emission) -> Iterator[Edge]:
    kind, _, topic = emission.subject.partition(".")
    subject = f"{kind}:{topic}"
    yield Edge(f"agent:{emission.agent}", subject, "emits", condition(emission))
    if not emission.is_task:
        return
    # A target without a manifest is drawn as a missing agent.
    target = [emission.target] if emission.target else []
    for taker in sorted(topology.takers(emission)) or target:
        yield Edge(subject, f"agent:{taker}", "takes")


def _received(topology: Topology, subscription: FactSubscription) -> Iterator[Edge]:
    kind, _, topic = subscription.pattern.partition(".")
    join = topology.agents[subscription.agent].manifest.join
    count = f"{join.count}" if subscription.joins and join and join.count is not None else ""
    subject = f"{kind}:{topic}"
    yield Edge(
        subject, f"agent:{subscription.agent}", "joins" if subscription.joins else "hears", count
    )
    for publisher in sorted(topology.publishers(subscription.pattern) - {subscription.agent}):
        yield Edge(f"agent:{publisher}", subject, "answers" if kind == "result" else "emits")


def _node(identity: str, topology: Topology) -> Node:
    kind, _, rest = identity.partition(":")
    label = f"{kind}.{rest}" if kind in ("task", "result", "event") else rest
    missing = kind == "agent" and rest not in topology.agents
    return Node(identity, kind, label, missing)  # pyright: ignore[reportArgumentType]


def _label(edge: Edge) -> str:
    return f"{edge.kind}: {edge.label}" if edge.label else edge.kind


def _lines(node: Node) -> str:
    return f"{node.label}\n{node.note}" if node.note else node.label


def _mermaid_label(node: Node) -> str:
    return "<br>".join(_in_mermaid(line) for line in _lines(node).split("\n"))


def _in_mermaid(text: str) -> str:
    """Text inside quotes. Mermaid has no escapes, only entities such as `#34;`."""
    return "".join(c if c.isalnum() or c in " .,:_-*@/·" else f"#{ord(c)};" for c in text)


def _in_dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
