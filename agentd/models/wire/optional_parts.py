"""The parts of a request that some servers refuse, and what was learnt about a model's server."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto
from typing import Any

from agentd.models.meaning import meaning
from agentd.models.port import ChatRequest
from agentd.models.wire import cache_marks, own_fields

_REFUSALS = (400, 404, 415, 422, 500, 501)


class Part(Enum):
    """A part that a request may be sent without."""

    USAGE = auto()  # `stream_options`, without which a stream has no usage
    SCHEMA = auto()  # `response_format`; without it, the schema is sent in words
    OWN = auto()  # the fields of `own_fields`
    MARKS = auto()  # `cache_control`; with it, a text is a list of parts


class OptionalParts:
    """Which parts are sent to one model: all, until its server has refused them.

    A part was refused if the same request succeeds without it. The words of a refusal prove
    nothing, since every server has its own.
    """

    def __init__(self, of_server: set[Any] | None = None) -> None:
        """`of_server` has what the server has refused for any of its models; it may be shared."""
        self._of_server: set[Any] = set() if of_server is None else of_server
        self._refused: set[tuple[Part, bool]] = set()

    def of(self, request: ChatRequest, *, streamed: bool) -> frozenset[Part]:
        """The parts that this request has, and that were not refused before."""
        wanted = {
            Part.USAGE: streamed,
            Part.SCHEMA: request.schema is not None,
            Part.OWN: bool(own_fields.names(request.messages)),
            Part.MARKS: cache_marks.are_in(request.messages),
        }
        return frozenset(
            part
            for part, has in wanted.items()
            if has and not {part, _key(part, request)} & (self._of_server | self._refused)
        )

    def to_leave_out(
        self, request: ChatRequest, sent: Collection[Part], status: int | None, text: str
    ) -> Part | None:
        """The part without which a refused request may succeed; None if there is none."""
        if status not in _REFUSALS:
            return None
        if Part.USAGE in sent and "stream_options" in text:
            return Part.USAGE
        if Part.OWN in sent and any(name in text for name in own_fields.names(request.messages)):
            return Part.OWN
        if Part.MARKS in sent and cache_marks.MARK in text:
            return Part.MARKS
        named = "response_format" in text or "json_schema" in text or "grammar" in text
        if Part.SCHEMA in sent and (named or _may_mean_anything(status, text)):
            return Part.SCHEMA
        if Part.MARKS in sent and _may_mean_anything(status, text):
            return Part.MARKS
        return None

    def succeeded(self, request: ChatRequest, without: Collection[Part]) -> None:
        """Remembers that a request succeeded without the parts with which it was refused."""
        if not without:
            return
        self._refused |= {_key(part, request) for part in without}
        self._of_server |= {Part.USAGE} & set(without)


def _key(part: Part, request: ChatRequest) -> tuple[Part, bool]:
    # Gemini and others take a schema or tools, but not both.
    return part, part is Part.SCHEMA and bool(request.tools)


def _may_mean_anything(status: int, text: str) -> bool:
    """Whether a refusal names no other cause, such as a text that is too long."""
    return status in (400, 422) and not meaning(text, status).final
