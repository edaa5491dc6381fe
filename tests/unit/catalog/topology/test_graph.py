"""A topology as nodes and edges, and as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.catalog.catalog import load
from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.graph import Edge, Graph

MANIFESTS = {
    "splitter": """
        capabilities: [split]
        emit:
          - {task: dig.part, for_each: output}
          - {task: lost.work, target: nobody}
        """,
    "digger": """
        capabilities: [dig]
        model: openai/gpt-4o-mini
        tools: [{command: [git, log]}, {agent: briefer}, {python: "odd.py:say", name: say}]
        """,
    "briefer": """
        capabilities: [brief]
        join: {wait_for: ['result.dig.*'], count: all}
        emit: [{event: brief.ready, when: 'output != "x\\\\y"'}]
        """,
    "archivist": "capabilities: [archive]\nsubscribe: event.brief.*",
}


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "odd.py").write_text("def say(): ...\n")
    for name, text in MANIFESTS.items():
        lines = [line.removeprefix("        ") for line in text.strip().splitlines()]
        file = tmp_path / "manifests" / f"{name}.yaml"
        file.write_text("\n".join([*lines, "instructions: Hi.", ""]))
    catalog = load(tmp_path / "manifests", environ={})
    assert catalog.agents.keys() == MANIFESTS.keys(), catalog.problems
    return catalog.topology


@pytest.fixture
def graph(topology: Topology) -> Graph:
    return Graph.of(topology, "mock/echo")


def test_every_way_of_a_message_is_an_edge(graph: Graph) -> None:
    expected = {
        Edge("agent:splitter", "task:dig.part", "emits", "each of output"),
        Edge("task:dig.part", "agent:digger", "takes"),
        Edge("task:dig.*", "agent:digger", "takes"),
        Edge("agent:splitter", "task:lost.work", "emits"),
        Edge("task:lost.work", "agent:nobody", "takes"),
        Edge("agent:digger", "result:dig.*", "answers"),
        Edge("result:dig.*", "agent:briefer", "joins", "all"),
        Edge("event:brief.ready", "agent:archivist", "hears"),
        Edge("agent:digger", "agent:briefer", "asks"),
        Edge("agent:digger", "tool:git log", "calls"),
        Edge("agent:digger", "tool:say", "calls"),
        Edge("agent:digger", "model:openai/gpt-4o-mini", "calls"),
        Edge("agent:briefer", "model:mock/echo", "calls"),
    }

    assert expected - set(graph.edges) == set()
    ends = {end for edge in graph.edges for end in (edge.source, edge.target)}
    assert ends <= {node.id for node in graph.nodes}


def test_only_an_agent_without_a_manifest_is_missing(graph: Graph) -> None:
    assert [node.id for node in graph.nodes if node.missing] == ["agent:nobody"]


def test_a_conditional_event_is_drawn_once(graph: Graph) -> None:
    edges = [edge for edge in graph.edges if "event:" in edge.source + edge.target]

    assert edges == [
        Edge("agent:briefer", "event:brief.ready", "emits", 'when output != "x\\\\y"'),
        Edge("event:brief.ready", "agent:archivist", "hears"),
    ]


def test_json_has_every_node_and_edge(graph: Graph) -> None:
    shown = graph.as_json()

    assert [node["id"] for node in shown["nodes"]] == [node.id for node in graph.nodes]
    assert shown["edges"][0].keys() == {"source", "target", "kind", "label"}


def test_a_trigger_is_a_node_that_starts_agents(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text(
        "capabilities: [review]\ninstructions: Hi.\ntriggers:\n"
        "  - {webhook: w, verify: none, when: body.x}\n"
        "  - {nats: orders.*, task: review.order}\n"
        "  - {files: inbox/*, task: '@nobody'}\n"
    )
    graph = Graph.of(load(tmp_path / "manifests", environ={}).topology, "mock/echo")

    assert [edge for edge in graph.edges if edge.kind == "starts"] == [
        Edge("trigger:POST /hooks/w", "agent:a", "starts", "when body.x"),
        Edge("trigger:files inbox/*", "agent:nobody", "starts"),
        Edge("trigger:nats orders.*", "agent:a", "starts", "task.review.order"),
    ]
    kinds = {node.label: (node.kind, node.missing) for node in graph.nodes}
    assert kinds["POST /hooks/w"] == ("trigger", False)
    assert kinds["nobody"] == ("agent", True)
