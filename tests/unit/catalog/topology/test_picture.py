"""A graph as a picture: agents, and what passes between them, as Mermaid and DOT."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.catalog.catalog import Catalog, load
from agentd.catalog.topology.graph import Graph
from agentd.catalog.topology.picture import Arrow, Picture

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
def graph(folder: Callable[..., Catalog]) -> Graph:
    catalog = folder(
        router="""
        capabilities: [support]
        emit:
          - {task: billing.issue, when: output.bill}
          - {task: billing.refund, when: 'output != "x\\\\y"'}
          - {event: case.closed}
          - {task: lost.work, target: nobody}
        """,
        billing="tools: [{agent: writer}, {command: [git, log]}]\nmodel: openai/gpt-4o-mini",
        writer="""
        join: {wait_for: ['result.billing.*', event.day.over], count: all}
        emit: [{event: case.answered, when: output.ok}]
        """,
        archivist="subscribe: event.case.*",
    )
    return Graph.of(catalog.topology, "mock/echo")


def test_what_passes_between_two_agents_is_one_arrow(graph: Graph) -> None:
    assert Picture.of(graph).arrows == (
        Arrow("agent:billing", "agent:writer", False, ("asks",)),
        Arrow("agent:billing", "agent:writer", True, ("result.billing.*: joins all",)),
        Arrow("agent:router", "agent:archivist", True, ("event.case.closed",)),
        Arrow(
            "agent:router",
            "agent:billing",
            False,
            (
                "task.billing.issue: when output.bill",
                'task.billing.refund: when output != "x\\\\y"',
            ),
        ),
        Arrow("agent:router", "agent:nobody", False, ("task.lost.work",)),
        Arrow("agent:writer", "agent:archivist", True, ("event.case.answered: when output.ok",)),
        Arrow("event:day.over", "agent:writer", True, ("joins all",)),
    )


def test_a_box_has_what_belongs_to_its_agent(graph: Graph) -> None:
    noted = graph.noted({"router": "2 replicas", "stranger": "1 replica"})
    boxes = {node.label: text for node, text in Picture.of(noted).boxes}

    assert boxes == {
        "archivist": ("archivist", "takes archivist", "mock/echo"),
        "billing": ("billing", "takes billing", "openai/gpt-4o-mini", "git log"),
        "event.day.over": ("event.day.over",),
        "nobody": ("nobody",),
        "router": ("router", "2 replicas", "takes support", "mock/echo"),
        "stranger": ("stranger", "1 replica"),
        "writer": ("writer", "takes writer", "mock/echo"),
    }


def test_agents_without_work_for_each_other_are_boxes_alone(folder: Callable[..., Catalog]) -> None:
    catalog = folder(**{f"agent{number}": "" for number in range(6)})
    picture = Picture.of(Graph.of(catalog.topology, "mock/echo"))

    assert (len(picture.boxes), picture.arrows) == (6, ())


def test_the_text_for_graphviz_is_valid_dot(graph: Graph) -> None:
    shown = Picture.of(graph.noted({"router": 'says "hi" \\'})).as_dot()

    assert DOT.fullmatch(shown)
    assert r"router\nsays" in shown


def test_the_text_for_mermaid_is_valid(graph: Graph) -> None:
    shown = Picture.of(graph.noted({"router": 'says "hi" [x] | y'})).as_mermaid()
    head, *lines = shown.splitlines()

    assert head == "flowchart LR"
    assert [line for line in lines if not MERMAID.fullmatch(line)] == []


def test_the_box_of_an_agent_says_what_it_accepts(folder: Callable[..., Catalog]) -> None:
    refund = "{type: object, required: [order], properties: {order: {type: string}}}"
    topology = folder(refunds=f"accepts: {refund}", writer="").topology
    graph = Graph.of(topology, "mock/echo")
    [refunds, writer] = [text for node, text in Picture.of(graph).boxes if node.kind == "agent"]
    assert refunds == ("refunds", "takes refunds", "accepts order: string", "mock/echo")
    assert writer == ("writer", "takes writer", "mock/echo")
    accepted = {each["label"]: each["accepts"] for each in graph.as_json()["nodes"]}
    assert accepted["refunds"]["required"] == ["order"]
    assert accepted["writer"] is None
    hash(graph)


def test_an_agent_that_calls_a_tool_has_no_model(folder: Callable[..., Catalog]) -> None:
    manifest = """capabilities: [a]
tools: [{command: [echo, x], name: notify}]
call: {tool: notify}
"""
    catalog = folder(writer="")
    (Path("manifests") / "notifier.yaml").write_text(manifest)
    catalog = load(Path("manifests"), environ={})
    graph = Graph.of(catalog.topology, "mock/echo")
    boxes = {node.label: text for node, text in Picture.of(graph).boxes}
    assert boxes["notifier"] == ("notifier", "takes a", "notify")
    assert boxes["writer"] == ("writer", "takes writer", "mock/echo")
