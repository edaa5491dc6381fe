"""What `agentd graph` adds to the graph: the order of agents, and the state of running ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentd.catalog.catalog import load
from agentd.catalog.topology.flow import Topology
from agentd.cli.graph import in_flow, notes_on, rates_of
from agentd.routing.registry import by_agent
from tests.unit.routing.test_registry import REPLICA

MANIFESTS = {
    "archivist": "capabilities: [archive]\nsubscribe: event.brief.*",
    "briefer": "capabilities: [brief]\njoin: {wait_for: ['result.dig.*'], count: all}\n"
    "emit: [{event: brief.ready}]",
    "digger": "capabilities: [dig]",
    "splitter": "capabilities: [split]\nemit: [{task: dig.part, for_each: output}]",
    "tick": "capabilities: [tick]\nemit: [{task: tock.x}]",
    "tock": "capabilities: [tock]\nemit: [{task: tick.x}]",
}


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    (tmp_path / "manifests").mkdir()
    for name, text in MANIFESTS.items():
        (tmp_path / "manifests" / f"{name}.yaml").write_text(f"{text}\ninstructions: Hi.\n")
    return load(tmp_path / "manifests", environ={}).topology


def test_agents_are_ordered_as_work_reaches_them_and_cycles_come_last(topology: Topology) -> None:
    assert in_flow(topology) == ["splitter", "digger", "briefer", "archivist", "tick", "tock"]


def test_the_rate_of_an_agent_is_the_sum_over_its_replicas() -> None:
    second = replace(REPLICA, instance="i2")
    before = [REPLICA, second, replace(REPLICA, agent="bob")]
    now = [
        replace(REPLICA, done=5, seen=REPLICA.seen + 2),
        replace(second, done=6, failed=2, seen=second.seen + 1),
        replace(REPLICA, agent="bob"),  # not written anew: nothing is known
        replace(REPLICA, agent="eve"),  # was not online before
    ]

    assert rates_of(before, now) == {"ada": 5.0}


def note(topology: Topology, **fields: Any) -> dict[str, str]:
    [agent] = by_agent([replace(REPLICA, agent="digger", **fields)])
    return notes_on(topology, {"digger": agent | {"rate": 0.0}})


def test_running_agents_get_a_note(topology: Topology) -> None:
    notes = note(topology, failed=0)

    assert notes["digger"] == "1 replica · 2 of 8 running · 3 done"
    assert notes["splitter"] == "not running"


def test_failures_rate_and_state_are_in_the_note_if_there_are_any(topology: Topology) -> None:
    [agent] = by_agent([replace(REPLICA, state="draining"), replace(REPLICA, instance="i2")])
    notes = notes_on(topology, {"ada": agent | {"rate": 2.25}})

    assert notes["ada"] == (
        "2 replicas · 4 of 16 running · 6 done · 2 failed · 2.2 tasks/s · draining "
        "· not in these files"
    )
