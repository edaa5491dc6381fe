"""One answer of the stub model: correct or faulty, streamed or whole."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

Fault = Literal[
    "401",  # the message contains the key of the request, as real providers have it
    "404",
    "429",  # with Retry-After
    "500",
    "503",  # as llama.cpp while it loads its model
    "hang",  # accepts the request and never answers
    "slow-headers",  # a header line every 20 ms, never the last
    "drip",  # a few bytes every 20 ms, never the end
    "garbage",  # an HTML page; in a stream, an event that is not JSON
    "truncated",  # a stream that ends in order, but before finish_reason; half a JSON body
    "cut",  # the connection breaks in the middle of the body
    "no-done",  # everything but [DONE], and the connection stays open
    "no-choices",  # `"choices": []`
    "empty",  # 200 and no body
    "error-inside",  # 200, and the error is in the body or between two chunks
    "huge",  # 50 MB
    "no-stream-options",  # 400 if the request asks for the usage in a stream
    "no-schemas",  # 400 if the request has a JSON schema
    "context",  # 400: the prompt is longer than the context
    "policy",  # 400: the content policy refuses the prompt
    "reset",  # the connection ends before the first byte
]

HUGE = 50 * 1024 * 1024  # bytes
_TOO_LONG = "request (1431 tokens) exceeds the available context size (512 tokens)"
_POLICY = "The response was filtered due to the prompt triggering the content management policy."


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How one request is answered.

    Attributes:
        text: the answer; None stands for `tokens` numbered words.
        tokens: how many words the answer has if it has no `text`.
        latency: seconds before the response starts.
        interval: seconds between two chunks of a stream; 0 sends all chunks in one write.
        fault: the fault of the answer; None for a correct answer.
        retry_after: the Retry-After header of a 429.
        reasoning: the text that the model returns as its reasoning.
        tool_calls: `{"name", "arguments"}` of each tool that the answer calls. The answer then
            finishes with `tool_calls`.
    """

    text: str | None = None
    tokens: int = 20
    latency: float = 0.0
    interval: float = 0.0
    fault: Fault | None = None
    retry_after: str = "7"
    reasoning: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()

    @property
    def words(self) -> list[str]:
        """The answer in pieces, each with the white space after it."""
        if self.text is not None:
            return re.findall(r"\S*\s*", self.text)[:-1]
        return [f"w{number} " for number in range(self.tokens)]


class StubReply:
    """Answers one request. `on_sent` gets the number of bytes of each piece of a huge answer."""

    def __init__(
        self,
        request: web.Request,
        body: dict[str, Any],
        behaviour: Behaviour,
        on_sent: Callable[[int], None],
    ) -> None:
        self.on_sent = on_sent
        self.request = request
        self.body = body
        self.behaviour = behaviour
        self.stream = bool(body.get("stream"))

    async def send(self) -> web.StreamResponse:
        """Sends the answer, or does what its fault says."""
        fault = self.behaviour.fault
        if fault and fault.isdigit():
            return self._send_error_status(int(fault))
        if fault == "no-stream-options" and "stream_options" in self.body:
            return _error(400, "Unknown parameter: 'stream_options'.")
        if fault == "no-schemas" and "response_format" in self.body:
            return _error(400, "'response_format' of type json_schema is not supported.")
        if fault == "context":
            return _error(400, _TOO_LONG)
        if fault == "policy":
            return web.json_response(_error_body(_POLICY, code="content_filter"), status=400)
        if fault == "reset":
            self._break()
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "slow-headers":
            await self._drip_headers()
        if fault == "empty":
            return web.Response(content_type=self._content_type)
        if fault == "huge":
            return await self._send_huge()
        return await (self._send_stream() if self.stream else self._send_whole())

    @property
    def _content_type(self) -> str:
        return "text/event-stream" if self.stream else "application/json"

    def _send_error_status(self, status: int) -> web.Response:
        key = self.request.headers.get("Authorization", "none").removeprefix("Bearer ")
        texts = {
            401: f"Incorrect API key provided: {key}. Find yours in your account.",
            404: f"The model `{self.body.get('model')}` does not exist.",
            429: "Rate limit reached.",
            500: "The server had an error.",
            503: "Loading model",
        }
        headers = {"Retry-After": self.behaviour.retry_after} if status == 429 else None
        return _error(status, texts[status], headers)

    async def _send_whole(self) -> web.StreamResponse:
        fault, data = self.behaviour.fault, self._whole()
        if fault == "garbage":
            return web.Response(text="<html>Welcome to the proxy</html>", content_type="text/html")
        if fault == "error-inside":
            return web.json_response(_error_body("upstream is overloaded", code=503))
        if fault == "truncated":
            return web.Response(body=data[: len(data) // 2], content_type="application/json")
        if fault not in ("cut", "drip"):
            return web.Response(body=data, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        # More than follows, so that the client waits for the rest of the body.
        response.content_length = len(data) + 1_000_000
        await response.prepare(self.request)
        await response.write(data[: len(data) // 2])
        while fault == "drip":
            await response.write(b" ")
            await asyncio.sleep(self.behaviour.interval or 0.02)
        self._break()
        return response

    async def _send_stream(self) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(self.request)
        chunks, end = self._chunks()
        fault, interval = self.behaviour.fault, self.behaviour.interval
        if fault in ("truncated", "cut", "error-inside", "garbage", "drip"):
            chunks, end = chunks[: len(chunks) // 2 + 1], b""
        if fault == "error-inside":
            end = _event(_error_body("upstream is overloaded", code=503))
        if fault == "garbage":
            end = b"data: <html>\n\n"
        if interval:
            for chunk in chunks:
                await response.write(chunk)
                await asyncio.sleep(interval)
        else:
            await response.write(b"".join(chunks))
        while fault == "drip":
            await response.write(self._chunk({"content": "."}))
            await asyncio.sleep(interval or 0.02)
        if end:
            await response.write(end)
        if fault == "cut":
            self._break()
        if fault == "no-done":
            await asyncio.sleep(3600)
        return response

    async def _send_huge(self) -> web.StreamResponse:
        """Sends the huge answer piece by piece, as far as the client reads."""
        piece = b"x" * 65536
        response = web.StreamResponse(headers={"Content-Type": self._content_type})
        await response.prepare(self.request)
        if not self.stream:
            await response.write(b'{"choices":[{"message":{"content":"')
        data = self._chunk({"content": piece.decode()}) if self.stream else piece
        for _ in range(HUGE // len(piece)):
            await response.write(data)
            self.on_sent(len(data))
        await response.write(self._chunk({}, finish="stop") if self.stream else b'"}}]}')
        return response

    async def _drip_headers(self) -> None:
        # aiohttp sends headers only as a whole, so these bytes go past it.
        transport = self.request.transport
        assert transport is not None
        transport.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(100_000):
            transport.write(b"X-Wait-%d: 1\r\n" % number)
            await asyncio.sleep(self.behaviour.interval or 0.02)

    def _break(self) -> None:
        if self.request.transport is not None:
            self.request.transport.close()

    @property
    def _finish(self) -> str:
        return "tool_calls" if self.behaviour.tool_calls else "stop"

    @property
    def _usage(self) -> dict[str, Any]:
        prompt = sum(len(str(message.get("content")).split()) for message in self.body["messages"])
        output = len(self.behaviour.words)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "completion_tokens_details": {
                "reasoning_tokens": len(self.behaviour.reasoning.split())
            },
        }

    def _tool_calls(self) -> list[dict[str, Any]]:
        return [
            {"index": index, "id": f"call_{index}", "type": "function", "function": dict(call)}
            for index, call in enumerate(self.behaviour.tool_calls)
        ]

    def _whole(self) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.behaviour.words)}
        if self.behaviour.reasoning:
            message["reasoning_content"] = self.behaviour.reasoning
        if self.behaviour.tool_calls:
            message |= {"content": None, "tool_calls": self._tool_calls()}
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        return json.dumps(
            {
                "id": "chatcmpl-stub",
                "object": "chat.completion",
                "created": 0,
                "model": self.body.get("model"),
                "choices": [] if self.behaviour.fault == "no-choices" else [choice],
                "usage": self._usage,
            }
        ).encode()

    def _chunks(self) -> tuple[list[bytes], bytes]:
        """The chunks with content, and the end that proves that the stream is complete."""
        if self.behaviour.fault == "no-choices":
            return [], _event({"choices": []}) + b"data: [DONE]\n\n"
        chunks = [self._chunk({"role": "assistant", "content": ""})]
        if self.behaviour.reasoning:
            chunks.append(self._chunk({"reasoning_content": self.behaviour.reasoning}))
        if self.behaviour.tool_calls:
            chunks += [self._chunk({"tool_calls": part}) for part in self._tool_call_parts()]
        else:
            chunks += [self._chunk({"content": word}) for word in self.behaviour.words]
        end = self._chunk({}, finish=self._finish)
        if (self.body.get("stream_options") or {}).get("include_usage"):
            end += _event({"object": "chat.completion.chunk", "choices": [], "usage": self._usage})
        return chunks, end + (b"" if self.behaviour.fault == "no-done" else b"data: [DONE]\n\n")

    def _tool_call_parts(self) -> list[list[dict[str, Any]]]:
        """The tool calls as OpenAI streams them: the name first, then the arguments in pieces."""
        parts: list[list[dict[str, Any]]] = []
        for call in self._tool_calls():
            arguments = call["function"]["arguments"]
            call["function"] = {"name": call["function"]["name"], "arguments": ""}
            parts.append([call])
            for start in range(0, len(arguments), 7):
                piece = {"arguments": arguments[start : start + 7]}
                parts.append([{"index": call["index"], "function": piece}])
        return parts

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        return _event(
            {
                "id": "chatcmpl-stub",
                "object": "chat.completion.chunk",
                "created": 0,
                "model": self.body.get("model"),
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            }
        )


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _error_body(text: str, **extra: Any) -> dict[str, Any]:
    return {"error": {"message": text, "type": "stub_error", "code": None, **extra}}


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(_error_body(text), status=status, headers=headers)
