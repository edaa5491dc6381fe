"""All that is odd about the agents of a folder together."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.catalog.topology.cycles import check_circles
from agentd.catalog.topology.facts import check_facts
from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.joins import check_joins
from agentd.catalog.topology.tasks import check_work
from agentd.problems import Problem


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
