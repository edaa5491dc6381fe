"""Puts one answer together while it arrives, limits its size, and checks that it is complete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentd.models.ending import accepted
from agentd.models.failures import Failures
from agentd.models.port import Completion, ToolCall, Usage
from agentd.models.prices import ListPrice

MAX_TEXT = 4 * 1024 * 1024  # bytes of text, reasoning and tool arguments together


class AnswerParser:
    """Turns chunks, or one whole response, in OpenAI's format into a `Completion`.

    Servers that call themselves compatible differ in many details; each is handled where it occurs.
    """

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _PartialCall] = {}
        self._usage: Usage | None = None
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
            raise self._failures.error("model_garbage", "the answer has no choices")
        text = self._add_choice(choice, "message")
        # Its JSON was complete, so nothing is missing. Some servers leave the reason out.
        self.finish_reason = self.finish_reason or "stop"
        return text

    def completion(
        self, price: ListPrice | None, parameters: Mapping[str, Any] | None = None
    ) -> Completion:
        """The answer to a request with these parameters.

        Raises:
            ModelError: as `ending.accepted`. Only a finish reason ends a stream: a proxy that is
                restarted ends the connection as a server does that has sent everything.
        """
        completion = Completion(
            text="".join(self._text),
            model=self._failures.model,
            finish_reason=self.finish_reason or "",
            tool_calls=tuple(call.whole(index) for index, call in self._calls.items()),
            usage=self._usage,
            cost=price.cost(self._usage) if price and self._usage else None,
            reasoning="".join(self._reasoning) or None,
        )
        refusal = "".join(self._refusal)
        return accepted(completion, self._failures, refusal=refusal, parameters=parameters)

    def too_large(self) -> Exception:
        """The error of an answer over the limit."""
        text = f"the answer is longer than {MAX_TEXT // 1024**2} MB"
        return self._failures.error("model_too_large", text, hint="set `max_tokens`")

    def _choice(self, chunk: Any) -> dict[str, Any] | None:
        """The first choice of a chunk; None in a chunk without one, such as the last with usage."""
        if not isinstance(chunk, dict):
            raise self._garbage(chunk)
        if chunk.get("error") or chunk.get("object") == "error":  # the second is vLLM's
            raise self._failures.reported(chunk.get("error") or chunk)
        usage = chunk.get("usage")
        if usage:
            self._usage = _usage(usage)
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
        if choice.get("finish_reason"):
            self.finish_reason = _text(choice["finish_reason"]) or "stop"
        content = choice.get(part)
        if not content:
            return ""
        if not isinstance(content, dict):
            raise self._garbage(choice)
        # DeepSeek and litellm write `reasoning_content`; OpenRouter and vLLM write `reasoning`.
        reasoning = content.get("reasoning_content") or content.get("reasoning")
        if reasoning:
            self._reasoning.append(self._bounded(_text(reasoning)))
        if content.get("tool_calls"):
            self._add_calls(content["tool_calls"])
        if content.get("refusal"):
            self._refusal.append(self._bounded(_text(content["refusal"])))
        text = content.get("content")
        if not text:
            return ""
        piece = self._bounded(_text(text))
        self._text.append(piece)
        return piece

    def _add_calls(self, fragments: Any) -> None:
        """Adds fragments of tool calls. A stream splits the arguments into many of them."""
        if not isinstance(fragments, list | tuple):
            raise self._garbage(fragments)
        for position, fragment in enumerate(fragments):
            if not isinstance(fragment, dict):
                raise self._garbage(fragments)
            function = fragment.get("function")
            function = function if isinstance(function, dict) else {}
            call = self._call(fragment, position)
            call.name += _text(function.get("name"))
            arguments = function.get("arguments")
            if isinstance(arguments, dict):  # Ollama sends the object itself, not its JSON
                arguments = json.dumps(arguments)
            call.arguments.append(self._bounded(_text(arguments)))

    def _call(self, fragment: dict[str, Any], position: int) -> _PartialCall:
        """The call to which a fragment belongs.

        By OpenAI's API that is its `index`. Some servers give every call the index 0, or none, so a
        new id starts a new call, whatever its index is.
        """
        index = fragment.get("index")
        index = index if isinstance(index, int) else position
        call_id = _text(fragment.get("id"))
        call = self._calls.get(index)
        if call is None or (call_id and call.id and call_id != call.id):
            key = index if call is None else max(self._calls) + 1
            self._calls[key] = call = _PartialCall(call_id)
        return call

    def _bounded(self, piece: str) -> str:
        self._size += len(piece) if piece.isascii() else len(piece.encode())
        if self._size > MAX_TEXT:
            raise self.too_large()
        return piece

    def _garbage(self, value: Any) -> Exception:
        shown = json.dumps(value, default=str)[:200]
        return self._failures.error(
            "model_garbage", f"the answer is not a chat completion: {shown}"
        )


class _PartialCall:
    """A tool call of which more fragments may arrive."""

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self.name = ""
        self.arguments: list[str] = []

    def whole(self, index: int) -> ToolCall:
        return ToolCall(self.id or f"call_{index}", self.name, "".join(self.arguments) or "{}")


def _text(value: Any) -> str:
    """A provider's text as one that can be encoded as UTF-8; a list of content parts is joined."""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        return "".join(_text(part) for part in parts)
    if not isinstance(value, str):
        return ""
    if value.isascii():
        return value
    # "\ud83d" alone is valid JSON and invalid text: half an emoji, which a server cut in two.
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _usage(usage: Any) -> Usage | None:
    def count(*path: str) -> int:
        value = usage
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, int) and value > 0 else 0

    if not isinstance(usage, dict):
        return None
    prompt, output = count("prompt_tokens"), count("completion_tokens")
    reasoning = count("completion_tokens_details", "reasoning_tokens")
    if reasoning and count("total_tokens") == prompt + output + reasoning:
        output += reasoning  # xAI's `completion_tokens` do not include them, OpenAI's do
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        reasoning_tokens=reasoning,
        cache_read=count("prompt_tokens_details", "cached_tokens"),
        cache_write=count("prompt_tokens_details", "cache_creation_tokens"),
    )
