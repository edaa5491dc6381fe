"""The answer of `/v1/responses`: one object, or events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agentd.doors.openai.answer import Answer
from agentd.doors.openai.fields import Object
from agentd.doors.openai.forward_text import ForwardText
from agentd.doors.refusal import Refusal
from agentd.protocol.fields import SendersCall

PREFIX = "resp_"

# What a response repeats of its request, with what it says where the request says nothing.
_ECHOED: Mapping[str, Any] = {
    "background": False,
    "frequency_penalty": 0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1,
    "truncation": "disabled",
}
_TOOL = {"description": None, "parameters": None, "strict": None}
_REASONING = {"effort": None, "summary": None}


class Response:
    """One response, on its way from the request to its end."""

    def __init__(
        self, task: str, model: str, body: Object, *, created: float | None = None
    ) -> None:
        self.task = task
        stated = {name: value for name, value in body.items() if value is not None}
        echoed = {name: stated.get(name, value) for name, value in _ECHOED.items()}
        # Readers want every field of these, also those that the client left out.
        echoed["tools"] = [{**_TOOL, **tool} for tool in echoed["tools"]]
        if echoed["reasoning"]:
            echoed["reasoning"] = {**_REASONING, **echoed["reasoning"]}
        self._fields = {
            "id": f"{PREFIX}{task}",
            "object": "response",
            "created_at": int(time.time() if created is None else created),
            "completed_at": None,
            "model": model,
            **echoed,
        }

    def open(self, status: str) -> dict[str, Any]:
        """The object while there is no outcome: `queued`, `in_progress`, or `cancelled`."""
        return self._as(status)

    def closed(self, answer: Answer) -> dict[str, Any]:
        """The object with the outcome."""
        if answer.error:
            return self.failed(answer.error, answer)
        status, details = ("incomplete", "max_output_tokens") if answer.cut else ("completed", "")
        incomplete = {"reason": details} if details else None
        output = self.output(answer.text, answer.calls)
        return self._as(status, answer, output=output, incomplete_details=incomplete)

    def failed(self, refusal: Refusal, answer: Answer | None = None) -> dict[str, Any]:
        """The object of a response that has no answer."""
        if refusal.code == "cancelled":
            return self._as("cancelled", answer)
        limited = refusal.status == 429
        code = "rate_limit_exceeded" if limited else "server_error"
        # OpenAI has a fixed list of codes here, so ours is in the text.
        return self._as(
            "failed", answer, error={"code": code, "message": f"{refusal.code}: {refusal}"}
        )

    def output(self, text: str, calls: Sequence[SendersCall]) -> list[dict[str, Any]]:
        """The items of an answer."""
        items = [self.message(text, "completed")] if text or not calls else []
        return [*items, *(self.call(i, call, "completed") for i, call in enumerate(calls))]

    def message(self, text: str | None, status: str) -> dict[str, Any]:
        """The item of a text; None: it has no content yet."""
        content = [] if text is None else [part(text)]
        head = {"id": f"msg_{self.task}", "type": "message", "status": status}
        return {**head, "role": "assistant", "content": content}

    def call(self, index: int, call: SendersCall, status: str) -> dict[str, Any]:
        """The item of a call; its arguments are empty while it is in progress."""
        return {
            "id": f"fc_{self.task}_{index}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments if status == "completed" else "",
            "status": status,
        }

    def _as(self, status: str, answer: Answer | None = None, **fields: Any) -> dict[str, Any]:
        ended = status in ("completed", "incomplete", "failed")
        return {
            **self._fields,
            "status": status,
            "completed_at": int(time.time()) if ended else None,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": _usage(answer) if answer else None,
            **fields,
        }


class Events:
    """The events of one stream. A piece of text has as its number how much text was sent by then,
    so that any process goes on where a client has stopped: behind the event `after`."""

    def __init__(self, response: Response, *, after: int = -1) -> None:
        self._response = response
        self._after = after
        self._number = 0
        self._text = ForwardText()
        self._written: list[str] = []

    def begin(self) -> Iterator[bytes]:
        """The first events."""
        started = self._response.open("in_progress")
        yield from self._event("response.created", response=started)
        yield from self._event("response.in_progress", response=started)

    def piece(self, text: str, *, turn: int) -> Iterator[bytes]:
        """A piece of the answer.

        Raises:
            Diverged: it does not continue what was sent.
        """
        yield from self._write(self._text.add(text, turn=turn))

    def restart(self) -> Iterator[bytes]:
        """The answer begins again."""
        self._text.restart()
        yield from ()

    def end(self, answer: Answer) -> Iterator[bytes]:
        """The rest of the answer, and the response.

        Raises:
            Diverged: as `piece`.
        """
        if answer.error:
            yield from self.failed(answer.error, answer)
            return
        rest = self._text.finish(answer.data, answer.text, turns=answer.turns)
        yield from self._write(rest)
        if not (self._written or answer.calls):
            yield from self._open_message()
        if self._written or not answer.calls:
            yield from self._close_message()
        first = 1 if self._written else 0
        for index, call in enumerate(answer.calls):
            yield from self._call(first + index, index, call)
        response = self._response.closed(answer)
        # What was streamed, text before tool calls included, is what the client has.
        response["output"] = self._response.output("".join(self._written), answer.calls)
        yield from self._event(f"response.{response['status']}", response=response)

    def failed(self, refusal: Refusal, answer: Answer | None = None) -> Iterator[bytes]:
        """The end of a stream without an answer."""
        response = self._response.failed(refusal, answer)
        # There is no event for a response that was cancelled.
        yield from self._event("response.failed", response={**response, "status": "failed"})

    def _write(self, text: str) -> Iterable[bytes]:
        if not text:
            return
        if not self._written:
            yield from self._open_message()
        self._written.append(text)
        skipped = self._after - self._number + 1
        self._number += len(text) - 1
        fields = {**self._place(), "delta": text[max(0, skipped) :], "logprobs": []}
        yield from self._event("response.output_text.delta", **fields)

    def _open_message(self) -> Iterable[bytes]:
        item = self._response.message(None, "in_progress")
        yield from self._event("response.output_item.added", output_index=0, item=item)
        yield from self._event("response.content_part.added", **self._place(), part=part(""))

    def _close_message(self) -> Iterable[bytes]:
        text = "".join(self._written)
        done = {**self._place(), "text": text, "logprobs": []}
        yield from self._event("response.output_text.done", **done)
        yield from self._event("response.content_part.done", **self._place(), part=part(text))
        item = self._response.message(text, "completed")
        yield from self._event("response.output_item.done", output_index=0, item=item)

    def _call(self, place: int, index: int, call: SendersCall) -> Iterable[bytes]:
        begun = self._response.call(index, call, "in_progress")
        done = self._response.call(index, call, "completed")
        at = {"output_index": place, "item_id": begun["id"]}
        arguments = call.arguments
        yield from self._event("response.output_item.added", output_index=place, item=begun)
        yield from self._event("response.function_call_arguments.delta", **at, delta=arguments)
        named = {"name": call.name, "arguments": arguments}
        yield from self._event("response.function_call_arguments.done", **at, **named)
        yield from self._event("response.output_item.done", output_index=place, item=done)

    def _place(self) -> dict[str, Any]:
        item = self._response.message(None, "in_progress")["id"]
        return {"item_id": item, "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **fields: Any) -> Iterable[bytes]:
        number, self._number = self._number, self._number + 1
        if number > self._after:
            data = {"type": kind, "sequence_number": number, **fields}
            text = json.dumps(data, ensure_ascii=False)
            yield f"event: {kind}\ndata: {text}\n\n".encode(errors="replace")


def part(text: str) -> dict[str, Any]:
    """A text as the content of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(answer: Answer) -> dict[str, Any] | None:
    """The usage. The schema of OpenAI requires the details."""
    usage = answer.usage
    if usage is None:
        return None
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.written,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
