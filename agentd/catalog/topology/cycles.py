"""Circles that nothing ends but the limit of hops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import AgentRun, Emission, FactSubscription, FlowStep
from agentd.problems import Problem


@dataclass(frozen=True)
class Circle:
    """Runs that follow one another whatever the answers say, the last followed by the first."""

    steps: tuple[FlowStep, ...]

    @property
    def agents(self) -> frozenset[str]:
        return frozenset(step.run.agent for step in self.steps)

    def __str__(self) -> str:
        """The way round, from the agent that is first in the alphabet."""
        names = [step.run.agent for step in self.steps]
        first = names.index(min(names))
        turned = (*self.steps[first + 1 :], *self.steps[: first + 1])
        way = [f"{step.subject} > {step.run.agent}" for step in turned]
        return " > ".join([names[first], *way])


def check_circles(topology: Topology) -> Iterator[tuple[str, Problem]]:
    """A warning for each circle, with the agent in whose file it can be broken."""
    for circle in circles(topology):
        limits = [topology.agents[name].manifest.limits for name in circle.agents]
        if any("hops" in each.model_fields_set for each in limits):
            continue  # somebody has thought of how often it goes round
        most = min(each.hops for each in limits)
        place = _place(circle)
        problem = topology.agents[place.agent].warning(
            *place.loc,
            text=f"goes round until limits.hops ({most}) ends it with an error: {circle}",
            hint="give a rule of it a `when`, or set limits.hops if that is meant",
        )
        yield place.agent, problem


def circles(topology: Topology) -> Iterator[Circle]:
    """A circle for each group of agents that has some, of steps that always follow."""
    after = {
        run: {step.run: step for step in steps if step.always}
        for run, steps in topology.steps.items()
    }
    while found := _first(after):
        yield found
        told = found.agents
        after = {
            run: {next_: step for next_, step in steps.items() if next_.agent not in told}
            for run, steps in after.items()
            if run.agent not in told
        }


def _first(after: dict[AgentRun, dict[AgentRun, FlowStep]]) -> Circle | None:
    try:
        # What follows stands for what goes before: the circle comes out the other way round.
        TopologicalSorter(after).prepare()
    except CycleError as error:
        runs: list[AgentRun] = error.args[1][::-1]
        return Circle(tuple(after[before][next_] for before, next_ in pairwise(runs)))
    return None


def _place(circle: Circle) -> Emission | FactSubscription:
    """Where it can be broken: at a rule, else where somebody hears of something."""
    rules = [step.emission for step in circle.steps if step.emission]
    subscriptions = [step.subscription for step in circle.steps if step.subscription]
    return min(rules or subscriptions, key=lambda each: each.agent)
