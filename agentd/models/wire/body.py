"""Reads the body of a response into an answer: server-sent events, JSON, or lines of JSON."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from typing import Any

from agentd.errors import DecodeError
from agentd.models.failures import Failures
from agentd.models.wire.answer import MAX_TEXT, AnswerParser
from agentd.models.wire.sse import EventStream
from agentd.protocol.strict_json import check_size

MAX_BODY = 2 * MAX_TEXT  # JSON escapes make a text longer
# Seconds to wait for usage after finish_reason, and for the end of the body after [DONE]. A
# connection can only be used again when its response was read to the end. But some servers never
# end the response, and then the answer, which is complete, must not be lost.
USAGE_GRACE, END_GRACE = 2.0, 0.2
_SHOWN = 200  # bytes of a body that is no answer


class Body:
    """Takes the bytes of one body as they arrive.

    The first byte decides what the body is: servers send JSON where a stream was asked for, a
    stream where none was, and both under any content type.
    """

    def __init__(
        self,
        answer: AnswerParser,
        failures: Failures,
        on_text: Callable[[str], None],
        end_within: Callable[[float], None],
    ) -> None:
        self._answer = answer
        self._failures = failures
        self._on_text = on_text
        self._end_within = end_within
        self._start = b""  # white space before the first byte that says something
        self._events: EventStream | None = None
        self._whole: list[bytes] | None = None
        self._size = 0
        self._done = self._finished = False

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes.

        Raises:
            ModelError: they are no answer, report an error, or are too many.
        """
        if self._events is None and self._whole is None:
            piece = self._begin(self._start + piece)
        if self._events is not None:
            self._add_events(self._events.feed(piece))
            self._size = self._events.pending
        elif self._whole is not None:
            self._whole.append(piece)
            self._size += len(piece)
        if self._size > MAX_BODY:
            raise self._answer.too_large()

    def end(self) -> None:
        """The connection has ended the body.

        Raises:
            ModelError: it is no answer.
        """
        if self._events is not None:
            for data in self._events.end():
                if _is_json(data):  # else it was cut off, and the answer has no finish reason
                    self._add_events([data])
        else:
            self._add_whole(b"".join(self._whole or ()))

    def _begin(self, start: bytes) -> bytes:
        """Decides what the body is, as soon as its first byte is there; returns what to read."""
        first = start.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        if not first:
            self._start = start if len(start) <= MAX_BODY else b""
            return b""
        if first in b"{[<":
            self._whole = []
        else:
            self._events = EventStream()
        return start

    def _add_events(self, events: list[bytes]) -> None:
        for data in events:
            if self._done or data.strip() == b"[DONE]":
                self._done = True
                self._end_within(END_GRACE)
                continue
            self._say(self._answer.add(self._json(data)))
        # The chunk with the usage follows the one with the finish reason.
        if self._answer.finish_reason and not self._finished:
            self._finished = True
            self._end_within(USAGE_GRACE)

    def _add_whole(self, body: bytes) -> None:
        lines = body.split(b"\n")
        if len(lines) > 1 and not _is_json(body) and all(map(_is_json, filter(None, lines))):
            self._add_events([line for line in lines if line.strip()])
        else:
            self._say(self._answer.add_whole(self._json(body)))

    def _say(self, text: str) -> None:
        if text:
            self._on_text(text)

    def _json(self, data: bytes) -> Any:
        try:
            return _parsed(data)
        except (DecodeError, ValueError, RecursionError) as error:
            raise self._no_json(data) from error

    def _no_json(self, data: bytes) -> Exception:
        shown = data[:_SHOWN].decode(errors="replace")
        if not data.strip():
            return self._failures.error("model_truncated", "the answer is empty")
        if data.lstrip()[:1] == b"<":
            text, hint = f"the answer is a web page, not JSON: {shown}", "check the address"
            return self._failures.error("model_garbage", text, hint=hint)
        return self._failures.error("model_garbage", f"the answer is not JSON: {shown}")


def _is_json(data: bytes) -> bool:
    try:
        _parsed(data)
    except (DecodeError, ValueError, RecursionError):
        return False
    return True


def _parsed(data: bytes) -> Any:
    check_size(data, most=MAX_BODY)
    return json.loads(data)
