"""The state of a join: the facts that it has gathered, and whether it is complete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from agentd.agent.fan_out import Expectation, Fact, FanOuts, Leads, SiblingPlace, places_of
from agentd.manifest.flow import MOST_JOINED, Join
from agentd.protocol.message import AgentMessage
from agentd.protocol.shape import Shape
from agentd.protocol.strict_json import MAX_BYTES
from agentd.protocol.subjects import matches

Closed = Literal["", "complete", "timeout", "too_many"]


@dataclass(frozen=True)
class _Stored:
    """A gathering as `Gathering.dump` writes it."""

    facts: list[tuple[int, str, list[tuple[str, int, str]], str]]
    started: float
    closed: Closed
    done: bool
    missing: tuple[str, ...]
    fan_outs: dict[str, dict[str, int]]


_stored: Shape[_Stored] = Shape(_Stored, most=MAX_BYTES)


@dataclass(frozen=True)
class Gathering:
    """The facts of one join; `started` is when the first one arrived, in seconds since the epoch.

    Once the join is `closed`, no fact is added to it, so every replica makes the same task of it.
    `done` means that its task has been stored. `missing` are the patterns of `wait_for` that still
    lack facts; it is part of the state, because replicas may know different agents.
    """

    facts: tuple[Fact, ...] = ()
    started: float = 0.0
    closed: Closed = ""
    done: bool = False
    missing: tuple[str, ...] = ()
    fan_outs: FanOuts = field(default_factory=dict[str, Mapping[str, int]])

    def add(
        self, fact: Fact, fan_outs: FanOuts, *, join: Join, leads: Leads, at: float
    ) -> Gathering:
        """This gathering with a fact that arrived `at`; unchanged if closed, or if it has it."""
        if self.closed or any(each.sequence == fact.sequence for each in self.facts):
            return self
        facts, known = (*self.facts, fact), {**fan_outs, **self.fan_outs}
        grown = replace(
            self,
            facts=facts,
            fan_outs=known,
            started=self.started or at,
            missing=_missing(facts, known, join, leads),
        )
        if not grown.missing:
            return replace(grown, closed="complete")
        return replace(grown, closed="too_many") if len(facts) >= MOST_JOINED else grown

    def close(self, why: Closed) -> Gathering:
        """This gathering, closed before it is complete; unchanged if it is empty or closed."""
        return replace(self, closed=why) if self.facts and not self.closed else self

    def in_order(self, join: Join) -> tuple[Fact, ...]:
        """The facts in the order of the prompt: by pattern, then by their sibling numbers."""

        def order(fact: Fact) -> tuple[int, list[int], int]:
            asked = [matches(pattern, fact.topic) for pattern in join.wait_for]
            place = asked.index(True) if True in asked else len(asked)
            return place, [each.index for each in fact.branch], fact.sequence

        return tuple(sorted(self.facts, key=order))

    def dump(self) -> bytes:
        """As compact JSON: a large join writes it often."""
        facts = [
            [f.sequence, f.topic, [[*asdict(p).values()] for p in f.branch], f.task]
            for f in self.facts
        ]
        state = {
            "facts": facts,
            "started": self.started,
            "closed": self.closed,
            "done": self.done,
            "missing": self.missing,
            "fan_outs": self.fan_outs,
        }
        return json.dumps(state, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Gathering:
        """The gathering that `dump` wrote; an empty one for no data.

        Raises:
            DecodeError: `dump` did not write it.
        """
        if not data:
            return cls()
        state = _stored.parse(data)
        facts = tuple(
            Fact(sequence, topic, tuple(SiblingPlace(*place) for place in branch), task)
            for sequence, topic, branch, task in state.facts
        )
        return cls(
            facts,
            state.started,
            state.closed,
            state.done,
            state.missing,
            state.fan_outs,
        )


def _missing(
    facts: tuple[Fact, ...], fan_outs: FanOuts, join: Join, leads: Leads
) -> tuple[str, ...]:
    """The patterns of `wait_for` that lack facts; none when the join is complete."""
    if isinstance(join.count, int):
        return () if len(facts) >= join.count else join.wait_for
    if join.count == "all":
        return tuple(
            pattern
            for pattern in join.wait_for
            if not Expectation(pattern, fan_outs, leads).met_by(facts)
        )
    return tuple(
        pattern
        for pattern in join.wait_for
        if not any(matches(pattern, fact.topic) for fact in facts)
    )


def key_of(fact: AgentMessage, join: Join) -> str:
    """The key that this fact shares with the facts of the same join."""
    if join.by == "conversation":
        return fact.context.conversation_id
    if join.by == "correlation":
        return fact.correlation_id or fact.id
    return fact.context.task_parent_id or fact.context.parent_message_id or fact.id


def branch_of(fact: AgentMessage, join: Join, key: str) -> tuple[SiblingPlace, ...]:
    """The places of a fact, from the joined fan-out on. Joined by parent, that is the fan-out of
    the parent."""
    places = places_of(fact)
    if join.by != "parent":
        return places
    ours = [number for number, place in enumerate(places) if place.of == key]
    return places[ours[0] :] if ours else ()
