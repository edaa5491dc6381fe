"""How work flows between the agents of a folder: who emits, who takes, who subscribes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TypeVar

from agentd.catalog.topology.members import (
    WILDCARD,
    AgentRun,
    Emission,
    FactSubscription,
    FlowStep,
    Member,
    TriggeredTask,
    emissions_of,
    intersection,
    subscriptions_of,
    triggered_by,
)
from agentd.manifest.flow import JOINED
from agentd.protocol.destination import GENERAL, Recipients
from agentd.protocol.subjects import AGENT_DOMAIN

MOST_STEPS = 50_000  # more steps are not followed: every edit of a file waits for the checks

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Topology:
    """The agents of a folder, by name, and how runs can follow each other.

    `whole` says that every file of the folder loads, so that no agent is missing.
    """

    agents: Mapping[str, Member]
    whole: bool = True

    @cached_property
    def emissions(self) -> Mapping[str, tuple[Emission, ...]]:
        """The emissions of each agent."""
        return {name: tuple(emissions_of(name, each)) for name, each in self.agents.items()}

    @cached_property
    def subscriptions(self) -> Mapping[str, tuple[FactSubscription, ...]]:
        """The subscriptions of each agent."""
        return {name: tuple(subscriptions_of(name, each)) for name, each in self.agents.items()}

    @cached_property
    def triggered(self) -> Mapping[str, tuple[TriggeredTask, ...]]:
        """The tasks that the triggers of each agent start."""
        return {name: tuple(triggered_by(name, each)) for name, each in self.agents.items()}

    @cached_property
    def agents_by_capability(self) -> Mapping[str, frozenset[str]]:
        """The agents that have each capability."""
        return _grouped(
            (capability, name)
            for name, member in self.agents.items()
            for capability in member.manifest.capabilities
        )

    @cached_property
    def publishers_by_fact(self) -> Mapping[str, frozenset[str]]:
        """The agents that may publish each fact, such as `result.research.*`."""
        results = ((run.fact, run.agent) for run in self.first_runs)
        emissions = [each for group in self.emissions.values() for each in group]
        events = ((each.subject, each.agent) for each in emissions if not each.is_task)
        # A rule can name a `target` that does not have the domain of the task as a capability.
        emitted = (
            (AgentRun(taker, *each.topic).fact, taker)
            for each in emissions
            if each.is_task
            for taker in self.takers(each)
        )
        return _grouped((*results, *events, *emitted))

    @cached_property
    def addressed(self) -> frozenset[str]:
        """The agents and capabilities that are named as a target, an agent tool or by a trigger."""
        targets = (e.target for each in self.emissions.values() for e in each)
        tools = (name for agent in self.agents for name in self.agent_tools(agent))
        triggered = (each.to.agent for group in self.triggered.values() for each in group)
        return frozenset(name for name in (*targets, *tools, *triggered) if name)

    @cached_property
    def sibling_publishers(self) -> Mapping[str, frozenset[str]]:
        """The facts that may follow from what an answer emits, and the agents that publish them."""
        facts = [
            (each.subject, agent)
            for agent, emissions in self.emissions.items()
            for each in emissions
            if not each.is_task
        ]
        runs: set[AgentRun] = set()
        waiting = [s.run for steps in self.steps.values() for s in steps if s.emission]
        while waiting:
            run = waiting.pop()
            if run not in runs:
                runs.add(run)
                waiting += [step.run for step in self.steps[run]]
        return _grouped(
            [*facts, *((fact, run.agent) for run in runs for fact in self.facts_of(run))]
        )

    def facts_of(self, run: AgentRun) -> list[str]:
        """The facts that a run can publish: its result, and the events of its agent."""
        return [run.fact, *(e.subject for e in self.emissions[run.agent] if not e.is_task)]

    def publishers(self, pattern: str) -> frozenset[str]:
        """The agents that may publish facts that match this pattern."""
        kind, domain, _ = pattern.split(".")
        by_domain = self._facts_by_domain.get(kind, {})
        domains = (domain, WILDCARD) if domain != WILDCARD else by_domain.keys()
        facts = (fact for each in domains for fact in by_domain.get(each, ()))
        return frozenset(
            name
            for fact in facts
            if intersection(pattern, fact)
            for name in self.publishers_by_fact[fact]
        )

    @cached_property
    def steps(self) -> Mapping[AgentRun, tuple[FlowStep, ...]]:
        """Every possible run, with the steps that can follow it.

        This is empty if there are too many steps, for example because each of many agents
        subscribes to all others.
        """
        found: dict[AgentRun, tuple[FlowStep, ...]] = {}
        waiting, count = list(self.first_runs), 0
        while waiting:
            run = waiting.pop()
            if run in found:
                continue
            # Cut, or one run alone could have more steps than there is time for.
            found[run] = tuple(islice(self._after(run), MOST_STEPS))
            count += len(found[run])
            if count >= MOST_STEPS:
                return {}
            waiting += [step.run for step in found[run] if step.run not in found]
        return found

    @cached_property
    def first_runs(self) -> tuple[AgentRun, ...]:
        """The runs that a task from outside can start: for each capability, and by name."""
        return tuple(
            run
            for name, member in self.agents.items()
            for run in (
                AgentRun(name, AGENT_DOMAIN, name),
                *(AgentRun(name, domain, WILDCARD) for domain in member.manifest.capabilities),
            )
        )

    def agents_with(self, capabilities: Iterable[str]) -> frozenset[str]:
        """The agents that have all of these capabilities; `*` stands for any capability."""
        wanted = set(capabilities) - {WILDCARD}
        if not wanted:
            return frozenset(name for held in self.agents_by_capability.values() for name in held)
        return frozenset.intersection(
            *(self.agents_by_capability.get(each, frozenset()) for each in wanted)
        )

    def takers(self, task: Emission | TriggeredTask) -> frozenset[str]:
        """The agents that may take this task."""
        recipients = task.recipients
        return frozenset(
            name
            for name in self._able(recipients)
            if recipients.include(name, (*self.agents[name].manifest.capabilities, WILDCARD))
        )

    def _able(self, recipients: Recipients) -> Iterable[str]:
        """The agents that come into question, so that not every agent is checked for every task."""
        if recipients.to.agent is not None:
            return {recipients.to.agent} & self.agents.keys()
        return self.agents_with(recipients.requirement.capabilities)

    def subscribers(self, fact: str, publisher: str) -> Iterator[FactSubscription]:
        """The subscriptions that receive a fact, except those of the agent that published it."""
        kind, domain, _ = fact.split(".")
        by_domain = self._subscriptions_by_domain.get(kind, {})
        for each in (domain, WILDCARD) if domain != WILDCARD else by_domain.keys():
            for subscription in by_domain.get(each, ()):
                if subscription.agent != publisher and intersection(subscription.pattern, fact):
                    yield subscription

    @cached_property
    def _subscriptions_by_domain(self) -> Mapping[str, Mapping[str, list[FactSubscription]]]:
        subscriptions = (
            subscription
            for subscriptions in self.subscriptions.values()
            for subscription in subscriptions
        )
        return _by_domain((subscription.pattern, subscription) for subscription in subscriptions)

    @cached_property
    def _facts_by_domain(self) -> Mapping[str, Mapping[str, list[str]]]:
        return _by_domain((fact, fact) for fact in self.publishers_by_fact)

    def _after(self, run: AgentRun) -> Iterator[FlowStep]:
        """The steps that can follow a run: by its result, its emissions, and its agent tools."""
        yield from self._to_subscribers(run.fact, run.agent)
        for emission in self.emissions[run.agent]:
            always, any_number = emission.always, emission.any_number
            if emission.is_task:
                for taker in sorted(self.takers(emission)):
                    taken = AgentRun(taker, *emission.topic)
                    yield FlowStep(taken, emission.subject, always, any_number, emission)
            else:
                yield from self._to_subscribers(emission.subject, run.agent, emission)
        for name in self.agent_tools(run.agent):
            for agent in sorted(self.agents_behind(name) - {run.agent}):
                topic = (AGENT_DOMAIN, name) if name in self.agents else (name, GENERAL)
                yield FlowStep(AgentRun(agent, *topic), f"@{agent}", always=False, any_number=True)

    def _to_subscribers(
        self, fact: str, publisher: str, emission: Emission | None = None
    ) -> Iterator[FlowStep]:
        """The runs of the subscribers to a fact; `emission` is None for a result."""
        for subscription in self.subscribers(fact, publisher):
            manifest = self.agents[subscription.agent].manifest
            specificity = JOINED
            if not subscription.joins:
                specificity = intersection(subscription.pattern, fact).rpartition(".")[2]
            # A join runs once for each key. In a cycle every round has another parent, but all
            # rounds have the same conversation and the same request.
            once = subscription.joins and manifest.join is not None and manifest.join.by != "parent"
            yield FlowStep(
                run=AgentRun(manifest.name, *manifest.fact_topic(specificity)),
                subject=fact,
                always=not once and (emission is None or emission.always),
                any_number=emission is not None and emission.any_number,
                emission=emission,
                subscription=subscription,
            )

    def agent_tools(self, agent: str) -> list[str]:
        """The agents and capabilities that an agent has as tools."""
        return [tool.agent for tool in self.agents[agent].manifest.tools if tool.agent]

    def agents_behind(self, name: str) -> frozenset[str]:
        """The agents that answer calls of an agent tool, which names an agent or a capability."""
        return frozenset({name}) if name in self.agents else self.agents_with([name])


def _grouped(pairs: Iterable[tuple[str, _Value]]) -> dict[str, frozenset[_Value]]:
    """The values of each key."""
    found: defaultdict[str, set[_Value]] = defaultdict(set)
    for key, value in pairs:
        found[key].add(value)
    return {key: frozenset(values) for key, values in found.items()}


def _by_domain(pairs: Iterable[tuple[str, _Value]]) -> dict[str, dict[str, list[_Value]]]:
    """Values by the kind and the domain of their patterns.

    Most patterns differ in these, so that only a few need to be compared.
    """
    found: dict[str, dict[str, list[_Value]]] = {}
    for pattern, value in pairs:
        kind, domain, _ = pattern.split(".")
        found.setdefault(kind, {}).setdefault(domain, []).append(value)
    return found
