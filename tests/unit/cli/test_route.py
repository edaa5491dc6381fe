"""The agents online as candidates for a message."""

from __future__ import annotations

from dataclasses import replace

from agentd.cli.route import of_replicas
from tests.unit.routing.test_registry import REPLICA


def test_the_replicas_of_an_agent_are_one_candidate() -> None:
    second = replace(REPLICA, instance="i2", capabilities=["c"], state="failing: no key")
    [candidate] = of_replicas([REPLICA, second])

    assert (candidate.name, candidate.capabilities) == ("ada", ("a", "b", "c"))
    assert candidate.note == "2 replicas, 4 of 16 busy; failing: no key"
    assert candidate.unavailable == ""


def test_an_agent_takes_nothing_while_all_its_replicas_drain() -> None:
    draining = replace(REPLICA, instance="i2", state="draining")

    assert of_replicas([REPLICA, draining])[0].unavailable == ""
    assert of_replicas([draining])[0].unavailable == "it is draining and takes no new tasks"
