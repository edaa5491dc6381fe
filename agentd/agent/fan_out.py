"""The fan-outs that facts came through, and whether something is still to come of them.

All that one answer emits are siblings: one fan-out. A message has a place in it, and so has every
message that follows from that one. Nested fan-outs make a tree, and facts are its leaves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentd.catalog.topology.members import intersection
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import matches

# Whether a message emitted as this topic (`task.billing.issue`) may lead to a fact of this pattern.
Leads = Callable[[str, str], bool]

# How many messages of each topic an answer emitted, by the task that it answered.
FanOuts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, order=True)
class SiblingPlace:
    """A place in a fan-out: that of the answer to the task `of`. `topic` is "" if unknown."""

    of: str
    index: int
    topic: str = ""


@dataclass(frozen=True)
class Fact:
    """A gathered fact: its sequence in LOG, its `result.domain.specificity`, its place in each
    fan-out that it came through, and the task whose result it is; "" for an event."""

    sequence: int
    topic: str
    branch: tuple[SiblingPlace, ...] = ()
    task: str = ""


_Found = Sequence[tuple[tuple[SiblingPlace, ...], Fact]]  # facts, and how they came from here on


def places_of(fact: AgentMessage) -> tuple[SiblingPlace, ...]:
    """The place of a fact in each fan-out that it came through."""
    return tuple(SiblingPlace(s.of, s.index, s.topic or "") for s in fact.context.siblings)


def fan_outs_of(fact: AgentMessage) -> FanOuts:
    """The fan-outs that a fact came through, and, if it is a result, the one that it makes."""
    # Without `topics` a sender has only counted its messages.
    found = {s.of: s.topics or {s.topic or "": s.count} for s in fact.context.siblings}
    if fact.context.emitted is not None and fact.context.parent_message_id:
        found[fact.context.parent_message_id] = fact.context.emitted
    return found


def directly(topic: str, pattern: str) -> bool:
    """Whether a message emitted as `topic` is such a fact itself, or its result is."""
    kind, _, rest = topic.partition(".")
    return bool(rest and intersection(pattern, f"{'result' if kind == 'task' else kind}.{rest}"))


def common(branches: Iterable[Sequence[SiblingPlace]]) -> int:
    """How many places, counted from the first, all the branches share."""
    shared = 0
    for places in zip(*branches, strict=False):
        if len(set(places)) > 1:
            break
        shared += 1
    return shared


@dataclass(frozen=True)
class Expectation:
    """All facts of a pattern that fan-outs lead to."""

    pattern: str
    fan_outs: FanOuts
    leads: Leads

    def met_by(self, facts: Iterable[Fact]) -> bool:
        """Whether all of them are there. If no fan-out leads to the pattern, one fact is enough."""
        return self._met("", [(fact.branch, fact) for fact in facts])

    def _met(self, topic: str, found: _Found) -> bool:
        """Whether all are there that follow from one message, emitted as `topic`."""
        here = any(self._is_wanted(fact) for branch, fact in found if not branch)
        if directly(topic, self.pattern) and not here:
            return False
        below = self._below(found)
        awaited = {of: self._awaited(of, each) for of, each in below.items()}
        if not any(awaited.values()):
            return here
        return all(self._whole(of, topics, below[of]) for of, topics in awaited.items())

    def _is_wanted(self, fact: Fact) -> bool:
        return matches(self.pattern, fact.topic)

    def _below(self, found: _Found) -> Mapping[str, list[tuple[tuple[SiblingPlace, ...], Fact]]]:
        """The facts that came through each of the next fan-outs."""
        below: defaultdict[str, list[tuple[tuple[SiblingPlace, ...], Fact]]] = defaultdict(list)
        for branch, fact in found:
            if branch:
                below[branch[0].of].append((branch, fact))
            elif fact.task in self.fan_outs:
                below[fact.task]  # nothing may have come of it yet
        return below

    def _awaited(self, of: str, found: _Found) -> set[str]:
        """The topics of a fan-out that lead to the pattern."""
        counts = self.fan_outs.get(of, {})
        known = {topic for topic in counts if self.leads(topic, self.pattern)}
        came = {branch[0].topic for branch, fact in found if self._is_wanted(fact)}
        if came - known:
            # They came through agents that are not known here, so any task may lead there.
            known |= {topic for topic in counts if topic.startswith("task.")}
        return known | came

    def _whole(self, of: str, topics: set[str], found: _Found) -> bool:
        """Whether every sibling of these topics is there, and all that follows from it."""
        siblings: defaultdict[SiblingPlace, list[tuple[tuple[SiblingPlace, ...], Fact]]]
        siblings = defaultdict(list)
        for (place, *rest), fact in found:
            if place.topic in topics:
                siblings[place].append((tuple(rest), fact))
        there, counts = Counter(place.topic for place in siblings), self.fan_outs.get(of, {})
        return all(there[topic] >= counts.get(topic, 0) for topic in topics) and all(
            self._met(place.topic, each) for place, each in siblings.items()
        )
