"""One record of the log, as a trace reads it.

Any client may write records, so every value of one is checked where it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

from agentd.protocol.subjects import RUNTIME_EVENTS, Subject, is_token
from agentd.queue.delivery import TASK
from agentd.record.values import mapping, object_in, text_of, whole

# Events on `event.{domain}.{taskId}`.
_OF_A_TASK = frozenset({"run", "approval", "join", "join_late"})
_LONGEST = 200  # characters of a gist


@dataclass(frozen=True)
class Entry:
    """One record.

    Attributes:
        at: when the server stored it, in seconds since the epoch.
        message: its JSON object; empty if it has none.
        id: of its message.
    """

    sequence: int
    at: float
    subject: Subject
    message: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    id: str = ""

    @classmethod
    def of(
        cls, sequence: int, at: float, subject: str, data: bytes, headers: Mapping[str, str]
    ) -> Entry:
        """The record with these bytes."""
        message = object_in(data)
        stated = message.get("id")
        given = headers.get(TASK) or headers.get("Nats-Msg-Id", "")
        known = stated if isinstance(stated, str) and is_token(stated) else given
        return cls(sequence, at, Subject.nearest(subject), message, headers, known)

    def with_content(self, content: Any) -> Entry:
        """The record with another content."""
        message = {**self.message, "payload": {**self.payload, "content": content}}
        return replace(self, message=message)

    @property
    def kind(self) -> str:
        """`content.event` of an event of agentd; "" for other records."""
        if self.is_ours and self.subject.domain == "cancel":
            return "cancel_requested"  # by anybody, whose message need not say so
        return text_of(self.content.get("event")) if self.is_ours else ""

    @property
    def is_ours(self) -> bool:
        """Whether it is an event that no agent can emit."""
        return self.subject.type == "event" and self.subject.domain in RUNTIME_EVENTS

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """`payload.content`; empty if it is no object."""
        return mapping(self.payload.get("content"))

    @cached_property
    def payload(self) -> Mapping[str, Any]:
        return mapping(self.message.get("payload"))

    @cached_property
    def context(self) -> Mapping[str, Any]:
        return mapping(self.message.get("context"))

    @property
    def parent(self) -> str:
        """The id of the message that this one follows from."""
        return text_of(self.context.get("parentMessageId"))

    @property
    def source(self) -> str:
        """Who sent it, as the message says."""
        return text_of(mapping(self.message.get("source")).get("id"))

    @property
    def task(self) -> str:
        """The task that it belongs to; "" for an event that belongs to none."""
        subject = self.subject
        if subject.type == "task":
            return self.id
        if subject.type == "result":
            return subject.rest[0]
        if subject.type == "dlq":
            return self.headers.get(TASK, "")
        if subject.domain in _OF_A_TASK:
            return subject.specificity
        if subject.domain == "summary":
            return self.parent
        return text_of(self.content.get("task")) if self.is_ours else ""

    @property
    def life(self) -> int:
        """The sequence under which the run began that it belongs to; 0 if it does not say so."""
        return whole(self.content.get("life"))

    @property
    def gist(self) -> str:
        """The beginning of its content in one line."""
        return gist(self.payload.get("content"))


def gist(value: Any) -> str:
    """The beginning of a value in one line: of an object its `instruction`, if it has one."""
    if isinstance(value, dict):
        value = cast("dict[str, Any]", value).get("instruction") or value
    text = value if isinstance(value, str) else "" if value is None else _dumped(value)
    return " ".join(text[: 4 * _LONGEST].split())[:_LONGEST]


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
