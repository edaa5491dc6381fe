"""The state of a join: the facts that it has gathered, and whether it is complete."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from agentd.manifest.flow import MOST_JOINED, Join
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import matches

Closed = Literal["", "complete", "timeout", "too_many"]


@dataclass(frozen=True, order=True)
class SiblingPlace:
    """A place among siblings, as `protocol.fields.Sibling`."""

    of: str
    rule: int
    index: int
    count: int


@dataclass(frozen=True)
class Fact:
    """A gathered fact: its sequence in LOG, its `result.domain.specificity`, and its place in each
    fan-out that it came through."""

    sequence: int
    topic: str
    branch: tuple[SiblingPlace, ...] = ()


@dataclass(frozen=True)
class Gathering:
    """The facts of one join; `started` is when the first one arrived, in seconds since the epoch.

    Once the join is `closed`, no fact is added to it, so every replica makes the same task of it.
    `done` means that its task has been stored.
    """

    facts: tuple[Fact, ...] = ()
    started: float = 0.0
    closed: Closed = ""
    done: bool = False

    def add(self, fact: Fact, join: Join, at: float) -> Gathering:
        """This gathering with a fact that arrived `at`; unchanged if closed, or if it has it."""
        if self.closed or any(each.sequence == fact.sequence for each in self.facts):
            return self
        grown = replace(self, facts=(*self.facts, fact), started=self.started or at)
        if not grown.missing(join):
            return replace(grown, closed="complete")
        return replace(grown, closed="too_many") if len(grown.facts) >= MOST_JOINED else grown

    def give_up(self) -> Gathering:
        """This gathering, closed by its timeout; unchanged if it is empty or closed."""
        return replace(self, closed="timeout") if self.facts and not self.closed else self

    def missing(self, join: Join) -> tuple[str, ...]:
        """The patterns of `wait_for` that still lack facts; none when the join is complete."""
        if isinstance(join.count, int):
            return () if len(self.facts) >= join.count else join.wait_for
        return tuple(
            pattern
            for pattern in join.wait_for
            if not _is_there([f.branch for f in self.facts if matches(pattern, f.topic)], join)
        )

    def in_order(self, join: Join) -> tuple[Fact, ...]:
        """The facts in the order of the prompt: by pattern, then by their sibling numbers."""

        def order(fact: Fact) -> tuple[int, list[tuple[int, int]], int]:
            asked = [matches(pattern, fact.topic) for pattern in join.wait_for]
            place = asked.index(True) if True in asked else len(asked)
            return place, [(each.rule, each.index) for each in fact.branch], fact.sequence

        return tuple(sorted(self.facts, key=order))

    def dump(self) -> bytes:
        """As compact JSON: a large join writes it often."""
        facts = [
            [f.sequence, f.topic, [[*asdict(p).values()] for p in f.branch]] for f in self.facts
        ]
        state = {"facts": facts, "started": self.started, "closed": self.closed, "done": self.done}
        return json.dumps(state, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Gathering:
        """The gathering that `dump` wrote; an empty one for no data."""
        if not data:
            return cls()
        state = json.loads(data)
        facts = tuple(
            Fact(sequence, topic, tuple(SiblingPlace(*place) for place in branch))
            for sequence, topic, branch in state["facts"]
        )
        return cls(facts, state["started"], state["closed"], state["done"])


def key_of(fact: AgentMessage, join: Join) -> str:
    """The key that this fact shares with the facts of the same join."""
    if join.by == "conversation":
        return fact.context.conversation_id
    if join.by == "correlation":
        return fact.correlation_id or fact.id
    return fact.context.task_parent_id or fact.context.parent_message_id or fact.id


def places_of(fact: AgentMessage) -> tuple[SiblingPlace, ...]:
    """The place of a fact in each fan-out that it came through."""
    return tuple(SiblingPlace(s.of, s.rule, s.index, s.count) for s in fact.context.siblings)


def branch_of(fact: AgentMessage, join: Join, key: str) -> tuple[SiblingPlace, ...]:
    """The places of a fact, from the joined fan-out on. Joined by parent, that is the fan-out of
    the parent."""
    places = places_of(fact)
    if join.by != "parent":
        return places
    ours = [number for number, place in enumerate(places) if place.of == key]
    return places[ours[0] :] if ours else ()


def _is_there(branches: Sequence[tuple[SiblingPlace, ...]], join: Join) -> bool:
    return whole(branches) if join.count == "all" else bool(branches)


def whole(branches: Collection[tuple[SiblingPlace, ...]]) -> bool:
    """Whether every sibling has arrived, at every fan-out on the way. False without any."""
    groups: defaultdict[tuple[str, int, int], defaultdict[int, list[tuple[SiblingPlace, ...]]]]
    groups = defaultdict(lambda: defaultdict(list))
    for first, *rest in filter(None, branches):
        groups[first.of, first.rule, first.count][first.index].append(tuple(rest))
    return bool(branches) and all(
        len(found) == count and all(map(whole, found.values()))
        for (_, _, count), found in groups.items()
    )


def common(branches: Iterable[Sequence[SiblingPlace]]) -> int:
    """How many places, counted from the first, all the branches share."""
    shared = 0
    for places in zip(*branches, strict=False):
        if len(set(places)) > 1:
            break
        shared += 1
    return shared
