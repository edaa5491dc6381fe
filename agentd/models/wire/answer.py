"""Puts one answer together while it arrives, and limits its size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentd.errors import ModelError
from agentd.models.ending import accepted
from agentd.models.failures import Failures, complaint
from agentd.models.port import Completion, Usage
from agentd.models.prices import ListPrice
from agentd.models.wire import own_fields
from agentd.models.wire.partial_calls import PartialCalls
from agentd.models.wire.text import text_of
from agentd.models.wire.usage import UsageReports

MAX_TEXT = 4 * 1024 * 1024  # bytes of text, reasoning and tool arguments together


class AnswerParser:
    """Turns chunks, or one whole response, in OpenAI's format into a `Completion`.

    Servers that call themselves compatible differ in many details; each is handled where it occurs.
    """

    def __init__(self, failures: Failures, price: ListPrice | None = None) -> None:
        self._failures = failures
        self._price = price
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._calls = PartialCalls()
        self._usage = UsageReports()
        self._own: list[Mapping[str, Any]] = []
        self._size = 0
        self.finish_reason: str | None = None

    def add(self, chunk: Any) -> str:
        """Adds a chunk of a stream; returns its new text, which may be "".

        Raises:
            ModelError: the chunk is an error or not a chunk, or the answer is too large.
        """
        choice = self._choice(chunk)
        return self._add_choice(choice, "delta") if choice else ""

    def add_whole(self, response: Any) -> str:
        """Adds a response that was not streamed; returns its text.

        Raises:
            ModelError: as `add`, and if the response has no choices.
        """
        choice = self._choice(response)
        if choice is None:
            text = f"the answer has no choices: {complaint(response)}"
            raise self._failures.error("model_garbage", text)
        text = self._add_choice(choice, "message")
        # Its JSON was complete, so nothing is missing. Some servers leave the reason out.
        self.finish_reason = self.finish_reason or "stop"
        return text

    def completion(self, parameters: Mapping[str, Any] | None = None) -> Completion:
        """The answer to a request with these parameters.

        Raises:
            ModelError: as `ending.accepted`. Only a finish reason ends a stream: a proxy that is
                restarted ends the connection as a server does that has sent everything.
        """
        usage = self._usage.usage()
        completion = Completion(
            text="".join(self._text),
            model=self._failures.model,
            finish_reason=self.finish_reason or "",
            tool_calls=self._calls.whole(),
            usage=usage,
            cost=self._cost(usage),
            reasoning="".join(self._reasoning) or None,
            own=own_fields.joined(self._own),
        )
        refusal = "".join(self._refusal)
        return accepted(completion, self._failures, refusal=refusal, parameters=parameters)

    def charge(self, error: ModelError) -> None:
        """Adds to an error what the call has used, as far as the provider has reported it."""
        error.answered |= self._size > 0
        if error.usage is None:
            error.usage = self._usage.usage()
            error.cost = self._cost(error.usage)

    def too_large(self) -> Exception:
        """The error of an answer over the limit."""
        text = f"the answer is longer than {MAX_TEXT // 1024**2} MB"
        return self._failures.error("model_too_large", text, hint="set `max_tokens`")

    def _choice(self, chunk: Any) -> dict[str, Any] | None:
        """The first choice of a chunk; None in a chunk without one, such as the last with usage."""
        if chunk is None:  # `data: null`, which keeps a connection alive
            return None
        if not isinstance(chunk, dict):
            raise self._garbage(chunk)
        self._usage.add(chunk)
        if chunk.get("error") or chunk.get("object") == "error":  # the second is vLLM's
            raise self._failures.reported(chunk.get("error") or chunk)
        choices = chunk.get("choices") or ()
        if not isinstance(choices, list | tuple):
            raise self._garbage(chunk)
        for choice in choices:
            if not isinstance(choice, dict):
                raise self._garbage(chunk)
            if not choice.get("index"):  # with n > 1, only the first choice is the answer
                return choice
        return None

    def _add_choice(self, choice: dict[str, Any], part: str) -> str:
        if choice.get("error"):  # a gateway that has lost its provider
            raise self._failures.reported(choice["error"])
        reason = _native_reason(choice) or choice.get("finish_reason")
        if reason:
            self.finish_reason = text_of(reason) or "stop"
        content = choice.get(part)
        if not content and not self._size:  # some servers stream a whole `message`
            part, content = "message", choice.get("message")
        if not content:
            return ""
        if not isinstance(content, dict):
            raise self._garbage(choice)
        # DeepSeek and litellm write `reasoning_content`; OpenRouter and vLLM write `reasoning`.
        reasoning = content.get("reasoning_content") or content.get("reasoning")
        if reasoning:
            self._reasoning.append(self._bounded(text_of(reasoning)))
        self._add_own(content)
        self._add_calls(content, whole=part == "message")
        if content.get("refusal"):
            self._refusal.append(self._bounded(text_of(content["refusal"])))
        piece = self._bounded(text_of(content.get("content")))
        if piece:
            self._text.append(piece)
        return piece

    def _add_calls(self, content: dict[str, Any], *, whole: bool) -> None:
        """Adds tool calls, or pieces of them. A stream splits the arguments into many pieces."""
        pieces = content.get("tool_calls") or ()
        if content.get("function_call"):  # of OpenAI's API before there were `tool_calls`
            pieces = [{"index": 0, "function": content["function_call"]}]
        if not isinstance(pieces, list | tuple):
            raise self._garbage(pieces)
        for piece in pieces:
            if not isinstance(piece, dict):
                raise self._garbage(pieces)
            self._count(self._calls.add(piece, whole=whole))

    def _add_own(self, content: dict[str, Any]) -> None:
        own = own_fields.of_turn(content)
        if own:
            self._own.append(own)
            others = {name: value for name, value in own.items() if not isinstance(value, str)}
            self._count(len(json.dumps(others, default=str)) if others else 0)

    def _bounded(self, piece: str) -> str:
        self._count(len(piece) if piece.isascii() else len(piece.encode()))
        return piece

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > MAX_TEXT:
            raise self.too_large()

    def _cost(self, usage: Usage | None) -> float | None:
        return self._price.cost(usage) if self._price and usage else None

    def _garbage(self, value: Any) -> ModelError:
        shown = json.dumps(value, default=str)[:200]
        return self._failures.error(
            "model_garbage", f"the answer is not a chat completion: {shown}"
        )


def _native_reason(choice: dict[str, Any]) -> Any:
    """The provider's finish reason where litellm has replaced it: it makes a "stop" of many words,
    of `error` too."""
    fields = choice.get("provider_specific_fields")
    return fields.get("native_finish_reason") if isinstance(fields, dict) else None
