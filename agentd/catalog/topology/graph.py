"""The topology as a graph of nodes and edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import (
    Emission,
    FactSubscription,
    TriggeredTask,
    intersection,
)
from agentd.manifest.tools import ToolEntry
from agentd.manifest.triggers.trigger import Trigger

NodeKind = Literal["agent", "task", "result", "event", "tool", "model", "trigger"]
EdgeKind = Literal["takes", "emits", "answers", "hears", "joins", "calls", "asks", "starts"]


@dataclass(frozen=True, order=True)
class Node:
    """An agent, a subject (`task.research.*`, `result.…`, `event.…`), a tool, a model or a trigger.

    `missing` marks an agent that a manifest names, or that runs, but that has no manifest here.
    `note` describes what is known of a running agent; `accepts` is the JSON Schema of the content
    that an agent takes.
    """

    id: str
    kind: NodeKind
    label: str
    missing: bool = False
    note: str = ""
    accepts: Mapping[str, Any] | None = field(default=None, compare=False)


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
    return tool.own_name if tool.ask else tool.kind


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
    models = [model.name for model in manifest.model] or [default_model] * (not manifest.call)
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
    for task in topology.triggered[name]:
        yield from _started(topology, task)
    for emission in topology.emissions[name]:
        yield from _emitted(topology, emission)
    for subscription in topology.subscriptions[name]:
        yield from _received(topology, subscription)


def trigger_name(trigger: Trigger) -> str:
    """What a trigger listens to: `POST /hooks/github`, `nats orders.created`, `files inbox/*`."""
    return f"POST /hooks/{trigger.name}" if trigger.webhook else f"{trigger.kind} {trigger.name}"


def _started(topology: Topology, task: TriggeredTask) -> Iterator[Edge]:
    source = f"trigger:{trigger_name(task.trigger)}"
    parts = [f"task.{task.to}"] if task.to.agent is None else []
    parts += [f"when {task.trigger.when}"] if task.trigger.when else []
    label = ", ".join(parts)
    missing = f"agent:{task.to.agent}" if task.to.agent else f"task:{task.to}"
    takers = [f"agent:{taker}" for taker in sorted(topology.takers(task))]
    for target in takers or [missing]:
        yield Edge(source, target, "starts", label)


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
    """The way of facts to a subscriber. An event is drawn as it is emitted, where an agent emits
    it: a second arrow to the pattern would say that it comes without a condition."""
    agent, pattern = subscription.agent, subscription.pattern
    join = topology.agents[agent].manifest.join
    count = f"{join.count}" if subscription.joins and join and join.count is not None else ""
    kind = "joins" if subscription.joins else "hears"
    emitted = [
        each.subject
        for publisher in sorted(topology.publishers(pattern) - {agent})
        for each in topology.emissions[publisher]
        if intersection(pattern, each.subject)
    ]
    for subject in emitted or [pattern]:
        yield Edge(subject.replace(".", ":", 1), f"agent:{agent}", kind, count)
    if pattern.startswith("result."):
        for publisher in sorted(topology.publishers(pattern) - {agent}):
            yield Edge(f"agent:{publisher}", pattern.replace(".", ":", 1), "answers")


def _node(identity: str, topology: Topology) -> Node:
    kind, _, rest = identity.partition(":")
    label = f"{kind}.{rest}" if kind in ("task", "result", "event") else rest
    agent = topology.agents.get(rest) if kind == "agent" else None
    return Node(
        identity,
        kind,  # pyright: ignore[reportArgumentType]
        label,
        missing=kind == "agent" and agent is None,
        accepts=agent.manifest.accepts if agent else None,
    )
