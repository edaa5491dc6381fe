"""A span that has not ended: what is said of it, as it becomes known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from opentelemetry.trace import Span, StatusCode

from agentd.errors import Paused, TaskError
from agentd.models.port import Completion
from agentd.telemetry import content, names, spans
from agentd.telemetry.content import encodable

log = logging.getLogger(__name__)

T = TypeVar("T")
Attributes = Callable[[], Mapping[str, Any]]

_LONGEST_ERROR = 1000  # characters
_TOOL_FAILED = "tool_error"  # the answer of the tool says more


class OpenSpan:
    """A span that has not ended: `otel`. `code` is what it failed with, or "".

    Args:
        with_content: whether it may have the contents of messages.
    """

    def __init__(self, otel: Span, with_content: bool) -> None:
        self.otel = otel
        self.code = ""
        self._content = with_content

    def say(self, plain: Attributes | None = None, content: Attributes | None = None) -> None:
        """Adds attributes, and with `content` some that only spans with content have."""
        if not self.otel.is_recording():
            return
        for attributes in (plain, content if self._content else None):
            if attributes and (found := tried(attributes)):
                self.otel.set_attributes({k: encodable(value) for k, value in found.items()})

    def fail(self, code: str, text: str) -> None:
        """Says that it failed."""
        self.code = code
        self.otel.set_attribute(names.ERROR, code)
        # The text of an error may quote an answer: that is content.
        shown = text[:_LONGEST_ERROR] if self._content else code
        self.otel.set_status(StatusCode.ERROR, encodable(shown))

    def fail_with(self, error: BaseException) -> None:
        """Says what it failed with, if that is a failure."""
        if not isinstance(error, Paused):  # to wait for a decision is none
            self.fail(code_of(error), str(error))


class AgentSpan:
    """The span of a run."""

    def __init__(self, span: OpenSpan) -> None:
        self._span = span

    def answered(self, data: Any, completion: Completion) -> None:
        """The run has an answer; `completion` has the tokens and the cost of all its calls."""
        self._span.say(
            lambda: spans.agent_end(completion),
            content=lambda: content.answered(data, completion.finish_reason),
        )


class ToolSpan:
    """The span of the call of a tool."""

    def __init__(self, span: OpenSpan) -> None:
        self._span = span

    def answered(self, text: str, *, error: bool) -> None:
        """The tool has answered, perhaps with an error."""
        self._span.say(content=lambda: content.result_of(text))
        if error:
            self._span.fail(_TOOL_FAILED, text)


def tried(work: Callable[[], T]) -> T | None:
    """The value of some work on a span; None if it fails: it has to do with what strangers sent."""
    try:
        return work()
    except Exception:
        log.debug("a span is incomplete", exc_info=True)
        return None


def code_of(error: BaseException) -> str:
    """What `error.type` says of an error: one of few words."""
    match error:
        case TaskError():
            return error.code
        case asyncio.CancelledError():
            return "cancelled"
        case _:
            return type(error).__name__
