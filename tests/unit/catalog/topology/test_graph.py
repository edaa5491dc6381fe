"""A topology as nodes and edges, and as JSON, Mermaid and DOT."""

from __future__ import annotations

import re
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

# DOT as Graphviz defines it, as far as it is used here: https://graphviz.org/doc/info/lang.html
QUOTED = r'"(?:[^"\\]|\\.)*"'
ATTRIBUTES = rf"\[\w+=(?:{QUOTED}|\w+)(?:, \w+=(?:{QUOTED}|\w+))*\]"
STATEMENT = rf"(?:\w+=\w+|node {ATTRIBUTES}|{QUOTED}(?: -> {QUOTED})? {ATTRIBUTES});"
DOT = re.compile(rf"digraph \w+ \{{\n(?:  {STATEMENT}\n)*\}}")
# A flowchart as mermaid defines it, as far as it is used here.
SHAPES = r'(?:\["_"\]|\("_"\)|\(\["_"\]\)|\[/"_"/\]|\{\{"_"\}\})'
TEXT = r"(?:[\w .,:_*@/·-]|#\d+;|<br>)*"
MERMAID = re.compile(
    rf"    (?:n\d+{SHAPES.replace('_', TEXT)}|n\d+ -\.?->\|\"{TEXT}\"\| n\d+|"
    rf"classDef \w+ [\w: -]+|class n\d+(?:,n\d+)* \w+)"
)


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
        Edge("agent:briefer", "event:brief.*", "emits"),
        Edge("event:brief.*", "agent:archivist", "hears"),
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


def test_notes_are_shown_with_their_agents(graph: Graph) -> None:
    noted = graph.noted({"digger": "2 replicas", "stranger": "1 replica"})

    notes = {node.label: (node.note, node.missing) for node in noted.nodes if node.note}
    assert notes == {"digger": ("2 replicas", False), "stranger": ("1 replica", True)}
    assert "digger<br>2 replicas" in noted.as_mermaid()
    assert r'label="digger\n2 replicas"' in noted.as_dot()


def test_the_text_for_graphviz_is_valid_dot(graph: Graph) -> None:
    assert DOT.fullmatch(graph.noted({"digger": 'says "hi" \\'}).as_dot())


def test_the_text_for_mermaid_is_valid(graph: Graph) -> None:
    head, *lines = graph.noted({"digger": 'says "hi" [x] | y'}).as_mermaid().splitlines()

    assert head == "flowchart LR"
    assert [line for line in lines if not MERMAID.fullmatch(line)] == []


def test_json_has_every_node_and_edge(graph: Graph) -> None:
    shown = graph.as_json()

    assert [node["id"] for node in shown["nodes"]] == [node.id for node in graph.nodes]
    assert shown["edges"][0].keys() == {"source", "target", "kind", "label"}
