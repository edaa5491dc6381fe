"""All checks of a topology."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.catalog.topology.cycles import check_cycles
from agentd.catalog.topology.facts import check_facts
from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.joins import check_joins
from agentd.catalog.topology.tasks import check_tasks
from agentd.problems import Problem


def check(topology: Topology) -> Iterator[tuple[str, Problem]]:
    """The warnings of a topology, each with the name of the agent whose file it belongs to."""
    for name in topology.agents:
        for problem in (
            *check_tasks(topology, name),
            *check_facts(topology, name),
            *check_joins(topology, name),
        ):
            yield name, problem
    yield from check_cycles(topology)
