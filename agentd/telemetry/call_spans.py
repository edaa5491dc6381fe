"""The spans of one call of a model: one for each attempt, as each has a model and an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agentd.models.port import ChatRequest, ModelAttempt

if TYPE_CHECKING:
    from agentd.telemetry.tracer import Tracer


class CallSpans:
    """The spans of one call.

    `on_delta` is what the model is given in place of the caller's: it notes the first piece.
    """

    def __init__(
        self, tracer: Tracer, request: ChatRequest, on_delta: Callable[[str], None] | None
    ) -> None:
        self._tracer = tracer
        self._request = request
        self._deliver = on_delta
        self._began = time.monotonic()  # of the attempt that runs
        self._first: float | None = None  # when its first piece came
        self.on_delta = self._on_delta if on_delta else None

    def _on_delta(self, text: str) -> None:
        self._first = self._first or time.monotonic()
        if self._deliver:
            self._deliver(text)

    def ended(self, attempt: ModelAttempt) -> None:
        """An attempt has ended."""
        now = time.monotonic()
        first = self._first and max(0.0, self._first - (now - attempt.seconds))
        stream = self.on_delta is not None
        self._tracer.chat(self._request, attempt, first_chunk=first, stream=stream)
        self._began, self._first = now, None

    def broken_off(self, model: str) -> None:
        """The call was ended from outside, in the midst of an attempt."""
        seconds = time.monotonic() - self._began
        self.ended(ModelAttempt(model=model, seconds=seconds, code="cancelled"))
