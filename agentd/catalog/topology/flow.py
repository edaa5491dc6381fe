"""How work flows between the agents of a folder: who emits, who takes, who hears."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TypeVar

from agentd.catalog.topology.members import (
    ANY,
    AgentRun,
    Emission,
    FactSubscription,
    FlowStep,
    Member,
    ears_of,
    emissions_of,
    meeting,
)
from agentd.manifest.flow import JOINED
from agentd.protocol.destination import Recipients
from agentd.protocol.subjects import AGENT_DOMAIN

GENERAL = "general"  # the specificity of work for a capability as such
MOST_STEPS = 50_000  # that are followed: an edit must not wait for more

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Topology:
    """The agents of a folder, by name, and what can follow what; `whole` if all its files load."""

    agents: Mapping[str, Member]
    whole: bool = True

    @cached_property
    def emissions(self) -> Mapping[str, tuple[Emission, ...]]:
        """What each agent may emit."""
        return {name: tuple(emissions_of(name, each)) for name, each in self.agents.items()}

    @cached_property
    def subscriptions(self) -> Mapping[str, tuple[FactSubscription, ...]]:
        """What each agent hears of."""
        return {name: tuple(ears_of(name, each)) for name, each in self.agents.items()}

    @cached_property
    def capable(self) -> Mapping[str, frozenset[str]]:
        """The agents that have each capability."""
        return _grouped(
            (capability, name)
            for name, member in self.agents.items()
            for capability in member.manifest.capabilities
        )

    @cached_property
    def said(self) -> Mapping[str, frozenset[str]]:
        """Every fact that can come to be, `result.research.*` for example, and who says it."""
        results = ((run.fact, run.agent) for run in self.entries)
        emissions = [each for several in self.emissions.values() for each in several]
        events = ((each.subject, each.agent) for each in emissions if not each.is_task)
        routed = (
            (AgentRun(taker, *each.topic).fact, taker)
            for each in emissions
            if each.is_task
            for taker in self.takers(each)
        )
        return _grouped((*results, *events, *routed))

    @cached_property
    def called(self) -> frozenset[str]:
        """What is named as a target, or as a tool: agents and capabilities."""
        targets = (e.rule.target for each in self.emissions.values() for e in each if e.rule)
        tools = (name for agent in self.agents for name in self.asked_by(agent))
        return frozenset(name for name in (*targets, *tools) if name)

    @cached_property
    def numbered(self) -> Mapping[str, frozenset[str]]:
        """Of the facts, those that may be one of several siblings, and who says them."""
        facts = [
            (each.subject, agent)
            for agent, emissions in self.emissions.items()
            for each in emissions
            if each.several and not each.is_task
        ]
        runs: set[AgentRun] = set()
        emitted = (step for steps in self.steps.values() for step in steps if step.emission)
        waiting = [step.run for step in emitted if step.several]
        while waiting:
            run = waiting.pop()
            if run not in runs:
                runs.add(run)
                waiting += [step.run for step in self.steps[run]]
        return _grouped([*facts, *((fact, run.agent) for run in runs for fact in self.facts(run))])

    def facts(self, run: AgentRun) -> list[str]:
        """What a run can say: its result, and its agent's events."""
        return [run.fact, *(e.subject for e in self.emissions[run.agent] if not e.is_task)]

    def publishers(self, pattern: str) -> frozenset[str]:
        """The agents that say facts of this pattern."""
        kind, domain, _ = pattern.split(".")
        near = self._said_by_domain.get(kind, {})
        domains = (domain, ANY) if domain != ANY else near.keys()
        facts = (fact for each in domains for fact in near.get(each, ()))
        return frozenset(
            name for fact in facts if meeting(pattern, fact) for name in self.said[fact]
        )

    @cached_property
    def steps(self) -> Mapping[AgentRun, tuple[FlowStep, ...]]:
        """Every run that can come to be and what can follow it; nothing where that is too much to
        follow, because each of very many agents hears of all the others."""
        found: dict[AgentRun, tuple[FlowStep, ...]] = {}
        waiting, count = list(self.entries), 0
        while waiting:
            run = waiting.pop()
            if run in found:
                continue
            found[run] = tuple(islice(self._after(run), MOST_STEPS))
            count += len(found[run])
            if count >= MOST_STEPS:
                return {}
            waiting += [step.run for step in found[run] if step.run not in found]
        return found

    @cached_property
    def entries(self) -> tuple[AgentRun, ...]:
        """The runs that anybody may begin: for each capability, and by name."""
        return tuple(
            run
            for name, member in self.agents.items()
            for run in (
                AgentRun(name, AGENT_DOMAIN, name),
                *(AgentRun(name, domain, ANY) for domain in member.manifest.capabilities),
            )
        )

    def holding(self, capabilities: Iterable[str]) -> frozenset[str]:
        """The agents that have all of these capabilities; `*` is no matter which."""
        wanted = set(capabilities) - {ANY}
        if not wanted:
            return frozenset(name for held in self.capable.values() for name in held)
        return frozenset.intersection(*(self.capable.get(each, frozenset()) for each in wanted))

    def takers(self, emission: Emission) -> frozenset[str]:
        """The agents that may take this task."""
        recipients = emission.recipients
        return frozenset(
            name
            for name in self._able(recipients)
            if recipients.include(name, (*self.agents[name].manifest.capabilities, ANY))
        )

    def _able(self, recipients: Recipients) -> Iterable[str]:
        """The agents that are worth a look, so that not every agent is asked about every task."""
        if recipients.to.agent is not None:
            return {recipients.to.agent} & self.agents.keys()
        return self.holding(recipients.requirement.capabilities)

    def subscribers(self, fact: str, speaker: str) -> Iterator[FactSubscription]:
        """Who hears of a fact, except the agent that said it."""
        kind, domain, _ = fact.split(".")
        near = self._subscriptions_by_domain.get(kind, {})
        for each in (domain, ANY) if domain != ANY else near.keys():
            for subscription in near.get(each, ()):
                if subscription.agent != speaker and meeting(subscription.pattern, fact):
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
    def _said_by_domain(self) -> Mapping[str, Mapping[str, list[str]]]:
        return _by_domain((fact, fact) for fact in self.said)

    def _after(self, run: AgentRun) -> Iterator[FlowStep]:
        """What can follow a run: who hears of its result, what it emits, whom its model asks."""
        yield from self._heard(run.fact, run.agent)
        for emission in self.emissions[run.agent]:
            always, several = emission.always, emission.several
            if emission.is_task:
                for taker in sorted(self.takers(emission)):
                    taken = AgentRun(taker, *emission.topic)
                    yield FlowStep(taken, emission.subject, always, several, emission)
            else:
                yield from self._heard(emission.subject, run.agent, emission)
        for name in self.asked_by(run.agent):
            for helper in sorted(self.helpers(name) - {run.agent}):
                asked = (AGENT_DOMAIN, name) if name in self.agents else (name, GENERAL)
                yield FlowStep(AgentRun(helper, *asked), f"@{helper}", always=False, several=True)

    def _heard(self, fact: str, speaker: str, said: Emission | None = None) -> Iterator[FlowStep]:
        for subscription in self.subscribers(fact, speaker):
            manifest = self.agents[subscription.agent].manifest
            specificity = JOINED
            if not subscription.joins:
                specificity = meeting(subscription.pattern, fact).rpartition(".")[2]
            # Joined by parent, every round of a circle has a key of its own; else all have one.
            once = subscription.joins and manifest.join is not None and manifest.join.by != "parent"
            yield FlowStep(
                run=AgentRun(manifest.name, *manifest.fact_topic(specificity)),
                subject=fact,
                always=not once and (said is None or said.always),
                several=said is not None and said.several,
                emission=said,
                subscription=subscription,
            )

    def asked_by(self, agent: str) -> list[str]:
        """The agents, or capabilities, that an agent has as tools."""
        return [tool.agent for tool in self.agents[agent].manifest.tools if tool.agent]

    def helpers(self, name: str) -> frozenset[str]:
        """Who answers for an agent, or capability, that is a tool."""
        return frozenset({name}) if name in self.agents else self.holding([name])


def _grouped(pairs: Iterable[tuple[str, _Value]]) -> dict[str, frozenset[_Value]]:
    found: defaultdict[str, set[_Value]] = defaultdict(set)
    for key, value in pairs:
        found[key].add(value)
    return {key: frozenset(values) for key, values in found.items()}


def _by_domain(pairs: Iterable[tuple[str, _Value]]) -> dict[str, dict[str, list[_Value]]]:
    """Values by the kind and the domain of their patterns: most never meet."""
    found: dict[str, dict[str, list[_Value]]] = {}
    for pattern, value in pairs:
        kind, domain, _ = pattern.split(".")
        found.setdefault(kind, {}).setdefault(domain, []).append(value)
    return found
