"""One answer while it arrives: its parts, its bound, and the proof that it is whole."""

from __future__ import annotations

import json
from typing import Any

from agentd.models.failures import Failures
from agentd.models.port import Completion, ToolCall, Usage
from agentd.models.prices import ListPrice

MAX_TEXT = 4 * 1024 * 1024  # bytes of text, reasoning and tool arguments together


class AnswerParser:
    """Collects OpenAI-shaped chunks, or one whole response, into a `Completion`."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _PartialCall] = {}
        self._usage: Usage | None = None
        self._size = 0
        self.finish_reason: str | None = None

    def add(self, chunk: Any) -> str:
        """Takes a chunk of a stream; its new text, perhaps "".

        Raises:
            ModelError: the chunk is an error, has no sense, or is one too many.
        """
        choice = self._choice(chunk)
        return self._take(choice, "delta") if choice else ""

    def add_whole(self, response: Any) -> str:
        """Takes a response that was not streamed; its text.

        Raises:
            ModelError: also when there is no choice in it.
        """
        choice = self._choice(response)
        if choice is None:
            raise self._failures.error("model_garbage", "the answer has no choices")
        text = self._take(choice, "message")
        # Its JSON was complete, which is the proof; some servers leave the reason out.
        self.finish_reason = self.finish_reason or "stop"
        return text

    def completion(self, price: ListPrice | None) -> Completion:
        """The answer.

        Raises:
            ModelError: `model_truncated`, when nothing proved that the stream came to its end.
        """
        if self.finish_reason is None:
            what = "the stream ended before the answer did (no finish_reason)"
            raise self._failures.error("model_truncated", what)
        return Completion(
            text="".join(self._text),
            model=self._failures.model,
            finish_reason=self.finish_reason,
            tool_calls=tuple(call.whole(index) for index, call in self._calls.items()),
            usage=self._usage,
            cost=price.cost(self._usage) if price and self._usage else None,
            reasoning="".join(self._reasoning) or None,
        )

    def _choice(self, chunk: Any) -> dict[str, Any] | None:
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

    def _take(self, choice: dict[str, Any], part: str) -> str:
        if choice.get("finish_reason"):
            self.finish_reason = _text(choice["finish_reason"]) or "stop"
        content = choice.get(part)
        if not content:
            return ""
        if not isinstance(content, dict):
            raise self._garbage(choice)
        reasoning = content.get("reasoning_content") or content.get("reasoning")
        if reasoning:
            self._reasoning.append(self._bounded(_text(reasoning)))
        if content.get("tool_calls"):
            self._take_calls(content["tool_calls"])
        text = content.get("content") or content.get("refusal")
        if not text:
            return ""
        piece = self._bounded(_text(text))
        self._text.append(piece)
        return piece

    def _take_calls(self, fragments: Any) -> None:
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
            if isinstance(arguments, dict):  # Ollama sends the object itself
                arguments = json.dumps(arguments)
            call.arguments.append(self._bounded(_text(arguments)))

    def _call(self, fragment: dict[str, Any], position: int) -> _PartialCall:
        """The call that a fragment continues. Some servers number every call 0, or none at all:
        a new id starts a new call whatever its number."""
        index = fragment.get("index")
        index = index if isinstance(index, int) else position
        name = _text(fragment.get("id"))
        call = self._calls.get(index)
        if call is None or (name and call.id and name != call.id):
            key = index if call is None else max(self._calls) + 1
            self._calls[key] = call = _PartialCall(name)
        return call

    def _bounded(self, piece: str) -> str:
        self._size += len(piece) if piece.isascii() else len(piece.encode())
        if self._size > MAX_TEXT:
            raise self.too_large()
        return piece

    def too_large(self) -> Exception:
        what = f"the answer is longer than {MAX_TEXT // 1024**2} MB"
        return self._failures.error("model_too_large", what)

    def _garbage(self, what: Any) -> Exception:
        shown = json.dumps(what, default=str)[:200]
        return self._failures.error("model_garbage", f"not a chat completion: {shown}")


class _PartialCall:
    """A tool call in the making."""

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self.name = ""
        self.arguments: list[str] = []

    def whole(self, index: int) -> ToolCall:
        return ToolCall(self.id or f"call_{index}", self.name, "".join(self.arguments) or "{}")


def _text(value: Any) -> str:
    """A provider's text as one that can be written as UTF-8; content parts are joined."""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        return "".join(_text(part) for part in parts)
    if not isinstance(value, str):
        return ""
    if value.isascii():
        return value
    # "\ud83d" alone is valid JSON and invalid text: half an emoji that a server cut in two.
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
        output += reasoning  # xAI's `completion_tokens` are without them
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        reasoning_tokens=reasoning,
        cache_read=count("prompt_tokens_details", "cached_tokens"),
        cache_write=count("prompt_tokens_details", "cache_creation_tokens"),
    )
