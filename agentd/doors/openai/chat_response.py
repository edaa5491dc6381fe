"""The answer of `/v1/chat/completions`: one object, or chunks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentd.doors.openai.answer import Answer, Usage
from agentd.doors.openai.errors import body
from agentd.doors.openai.forward_text import ForwardText
from agentd.doors.refusal import Refusal
from agentd.protocol.fields import SendersCall

END = b"data: [DONE]\n\n"


def completion(task: str, model: str, answer: Answer) -> dict[str, Any]:
    """The object of an answer. The usage is left out if it is not known."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.calls:
        message["content"] = answer.text or None
        message["tool_calls"] = [_call(call) for call in answer.calls]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(answer)}
    return {
        **_head(task, model, "chat.completion"),
        "choices": [choice],
        **({"usage": _usage(answer.usage)} if answer.usage else {}),
        "system_fingerprint": answer.revision or None,
    }


class Chunks:
    """The chunks of one stream, as server-sent events."""

    def __init__(self, task: str, model: str, *, usage: bool) -> None:
        self._head = _head(task, model, "chat.completion.chunk")
        self._with_usage = usage
        self._text = ForwardText()
        self._began = False

    def piece(self, text: str, *, turn: int) -> Iterator[bytes]:
        """A piece of the answer.

        Raises:
            Diverged: it does not continue what was sent.
        """
        if new := self._text.add(text, turn=turn):
            yield from self._delta({"content": new})

    def restart(self) -> Iterator[bytes]:
        """The answer begins again."""
        self._text.restart()
        yield from ()

    def end(self, answer: Answer) -> Iterator[bytes]:
        """The rest of the answer, why it ended, and the usage if the client wants it.

        Raises:
            Diverged: as `piece`.
        """
        if answer.error:
            yield from self.failed(answer.error)
            return
        rest = self._text.finish(answer.data, answer.text, turns=answer.turns)
        if rest or not (self._began or answer.calls):
            yield from self._delta({"content": rest})
        if answer.calls:
            calls = [{"index": i, **_call(call)} for i, call in enumerate(answer.calls)]
            yield from self._delta({"tool_calls": calls})
        yield from self._delta({}, finish=_reason(answer))
        if self._with_usage:
            usage = answer.usage and _usage(answer.usage)
            yield _event({**self._head, "choices": [], "usage": usage})
        yield END

    def failed(self, refusal: Refusal) -> Iterator[bytes]:
        """The end of a stream without an answer."""
        yield _event({"error": body(refusal)})
        yield END

    def _delta(self, delta: Mapping[str, Any], *, finish: str | None = None) -> Iterable[bytes]:
        """A chunk. Clients want the role in the first one, and `finish_reason` in each."""
        if not self._began:
            self._began = True
            delta = {"role": "assistant", "content": "", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**self._head, "choices": [choice]}
        yield _event({**chunk, "usage": None} if self._with_usage else chunk)


def _event(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode(errors="replace")


def _head(task: str, model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{task}", "object": kind, "created": int(time.time()), "model": model}


def _call(call: SendersCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _reason(answer: Answer) -> str:
    if answer.calls:
        return "tool_calls"
    return "length" if answer.cut else "stop"


def _usage(usage: Usage) -> dict[str, Any]:
    """The usage. agentd does not know a 0 from a count that the provider did not report."""
    counts: dict[str, Any] = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }
    if usage.cached:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    if usage.reasoning:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return counts
