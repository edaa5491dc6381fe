"""Warnings for cycles of agents that only the limit of hops ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import AgentRun, Emission, FactSubscription, FlowStep
from agentd.problems import Problem


@dataclass(frozen=True)
class Cycle:
    """Runs that follow one another whatever the answers are; the first follows the last."""

    steps: tuple[FlowStep, ...]

    @property
    def agents(self) -> frozenset[str]:
        return frozenset(step.run.agent for step in self.steps)

    def __str__(self) -> str:
        """The way through the cycle, beginning with the agent that is first in the alphabet."""
        names = [step.run.agent for step in self.steps]
        first = names.index(min(names))
        rotated = (*self.steps[first + 1 :], *self.steps[: first + 1])
        way = [f"{step.subject} > {step.run.agent}" for step in rotated]
        return " > ".join([names[first], *way])


def check_cycles(topology: Topology) -> Iterator[tuple[str, Problem]]:
    """A warning for each cycle, with the name of the agent in whose file it can be broken."""
    for cycle in cycles(topology):
        limits = [topology.agents[name].manifest.limits for name in cycle.agents]
        if any("hops" in each.model_fields_set for each in limits):
            continue  # the author has set how often the cycle may run
        most = min(each.hops for each in limits)
        place = _place(cycle)
        problem = topology.agents[place.agent].warning(
            *place.loc,
            text=f"this cycle runs until limits.hops ({most}) ends it with an error: {cycle}",
            hint="add a `when` to one of its rules, or set limits.hops if the cycle is intended",
        )
        yield place.agent, problem


def cycles(topology: Topology) -> Iterator[Cycle]:
    """Cycles of steps that always follow, at most one for each agent."""
    after = {
        run: {step.run: step for step in steps if step.always}
        for run, steps in topology.steps.items()
    }
    while found := _first(after):
        yield found
        # Leave out the agents of this cycle: they are often in many, and one warning is enough.
        reported = found.agents
        after = {
            run: {next_: step for next_, step in steps.items() if next_.agent not in reported}
            for run, steps in after.items()
            if run.agent not in reported
        }


def _first(after: dict[AgentRun, dict[AgentRun, FlowStep]]) -> Cycle | None:
    try:
        # graphlib expects the predecessors of each node, but gets the successors. So the cycle that
        # it reports is in reverse order.
        TopologicalSorter(after).prepare()
    except CycleError as error:
        runs: list[AgentRun] = error.args[1][::-1]
        return Cycle(tuple(after[before][next_] for before, next_ in pairwise(runs)))
    return None


def _place(cycle: Cycle) -> Emission | FactSubscription:
    """Where the cycle can be broken: at a rule, or else at a subscription."""
    rules = [step.emission for step in cycle.steps if step.emission]
    subscriptions = [step.subscription for step in cycle.steps if step.subscription]
    return min(rules or subscriptions, key=lambda each: each.agent)
