"""Calls that wait for an answer, and end at once when none can come any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from agentd.errors import BusError, Forbidden

log = logging.getLogger(__name__)

# Seconds until the same refusal is logged again, and how many of them meanwhile.
_REPEAT_AFTER, _MOST_REPORTED = 60.0, 100


@dataclass(eq=False, slots=True)
class Call:
    """A call that waits for an answer to what it sent on `subject`, and how to end it."""

    subject: str
    fail: Callable[[BusError], object]

    def late(self, seconds: float) -> None:
        """Ends it: no answer came within so many seconds."""
        self.end(BusError(f"{self.subject}: no answer within {seconds:g} s"))

    def end(self, error: BusError) -> None:
        """Ends it, unless its answer is there and only not read yet."""
        with contextlib.suppress(asyncio.InvalidStateError):
            self.fail(error)


class Waiting:
    """The waiting calls of one connection."""

    def __init__(self) -> None:
        self.calls: set[Call] = set()
        self._reported: dict[str, float] = {}  # refusals, and when they were logged

    def fail_all(self, why: str) -> None:
        """Ends all calls: the connection was lost."""
        for call in list(self.calls):
            call.end(BusError(why))

    def refuse(self, error: Forbidden, *, inbox: str) -> None:
        """Ends the calls that the server refused: all, if it was the subscription to `inbox`.

        The server reports what it refuses, but answers no request that it refused.
        """
        no_answers = bool(inbox) and error.subject.startswith(inbox)
        refused = [call for call in self.calls if no_answers or call.subject == error.subject]
        for call in refused:
            call.end(error)
        if not refused:  # otherwise the call reports it
            self._report(str(error))

    def _report(self, refusal: str) -> None:
        """Logs each refusal once in a while: a heartbeat would repeat it every second."""
        now = time.monotonic()
        recent = {text: at for text, at in self._reported.items() if at > now - _REPEAT_AFTER}
        if refusal not in recent and len(recent) < _MOST_REPORTED:
            recent[refusal] = now
            log.warning("%s", refusal)
        self._reported = recent
