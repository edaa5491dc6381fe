"""All that is odd about the agents of a folder together."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.problems import Problem
from agentd.topology.circles import check_circles
from agentd.topology.facts import check_facts
from agentd.topology.flow import Topology
from agentd.topology.joins import check_joins
from agentd.topology.work import check_work


def check(topology: Topology) -> Iterator[tuple[str, Problem]]:
    """Warnings, each with the name of the agent in whose file it stands."""
    for name in topology.agents:
        for problem in (
            *check_work(topology, name),
            *check_facts(topology, name),
            *check_joins(topology, name),
        ):
            yield name, problem
    yield from check_circles(topology)
