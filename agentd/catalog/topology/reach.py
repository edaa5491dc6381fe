"""Which facts an emitted message can lead to, through all agents of the folder."""

from __future__ import annotations

from functools import lru_cache

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import AgentRun, intersection


class Reach:
    """Answers for one topology, and remembers its answers."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.leads = lru_cache(1_000)(self._leads)

    def _leads(self, joiner: str, emitted: str, pattern: str) -> bool:
        """Whether a message emitted as this topic, such as `task.billing.issue`, may lead to a fact
        of this pattern. What follows from the runs of `joiner` does not count: it waits itself."""
        waiting, seen = self._first_runs(emitted), set[AgentRun]()
        while waiting:
            run = waiting.pop()
            if run in seen or run.agent == joiner:
                continue
            seen.add(run)
            if any(intersection(pattern, fact) for fact in self._topology.facts_of(run)):
                return True
            waiting += [step.run for step in self._topology.steps.get(run, ())]
        return False

    def _first_runs(self, emitted: str) -> list[AgentRun]:
        return [
            step.run
            for steps in self._topology.steps.values()
            for step in steps
            if step.emission and intersection(step.emission.subject, emitted)
        ]
