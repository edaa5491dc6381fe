"""One node of a trace: something that happened, when, and the records that say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

# `waiting`: it has not ended yet. A person, a free slot or an agent that is offline keeps it.
Status = Literal["", "ok", "failed", "waiting"]

Kind = Literal[
    "conversation",
    "task",
    "life",
    "accepted",
    "join",
    "attempt",
    "turn",
    "call",
    "approval",
    "resumed",
    "forwarded",
    "model",
    "result",
    "letter",
    "late",
    "event",
    "decision",
    "memory",
    "erased",
    "other",
]

_PROMPTS = frozenset({"call", "messages"})  # details that have what a model was sent


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node.

    Attributes:
        kind: what it is; docs/record.md has the list.
        name: who or what: an agent, a model, a tool, a person, a subject.
        id: of a task or a message.
        text: the beginning of what was said, in one line.
        began, ended: in seconds since the epoch; `ended` is None for what has not ended.
        started: when work on a task began. Until then it waited in its queue.
        details: what else is known: tokens, cost, revision, …; unknown values are left out.
        sequences: the records in the log that it is taken from, ascending.
    """

    kind: Kind
    began: float
    ended: float | None = None
    started: float | None = None
    name: str = ""
    id: str = ""
    text: str = ""
    status: Status = ""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sequences: Sequence[int] = ()
    children: Sequence[Node] = ()

    @cached_property
    def first(self) -> int:
        """The first record of it and of all below it: nodes are ordered by it."""
        return min((*self.sequences, *(child.first for child in self.children)), default=0)

    def walk(self) -> Iterator[Node]:
        """It and all below it, in the order in which they are drawn."""
        yield self
        for child in self.children:
            yield from child.walk()

    def as_json(self, *, prompts: bool = True) -> dict[str, Any]:
        """It and all below it as JSON: times in RFC 3339, nothing that is empty; without `prompts`,
        not what models were sent."""
        details = {
            name: each for name, each in self.details.items() if prompts or name not in _PROMPTS
        }
        shown: dict[str, Any] = {
            "kind": self.kind,
            "id": self.id,
            "name": self.name,
            "text": self.text,
            "status": self.status,
            "began": _moment(self.began),
            "started": _moment(self.started),
            "ended": _moment(self.ended),
            **details,
            "sequences": list(self.sequences),
            "children": [child.as_json(prompts=prompts) for child in self.children],
        }
        return {name: value for name, value in shown.items() if value not in ("", None, [])}


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
