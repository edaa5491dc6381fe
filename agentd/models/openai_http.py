"""Models behind an OpenAI-compatible endpoint, called directly over one aiohttp session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from errno import ECONNRESET, EPIPE
from typing import Any

import aiohttp

from agentd.errors import ModelError
from agentd.models.answer import MAX_TEXT, AnswerParser
from agentd.models.endpoint import Endpoint
from agentd.models.failures import Failures, shorten
from agentd.models.port import ChatRequest, Completion, Usage
from agentd.models.prices import ListPrice
from agentd.models.response_format import in_words, is_refusal, response_format
from agentd.models.sse import EventStream

MAX_BODY = 2 * MAX_TEXT  # JSON escapes make a text longer
MAX_REFUSAL = 64 * 1024
# Seconds that usage may follow finish_reason, and the end of the body [DONE]. Waiting for the end
# is what lets the connection be used again; an answer is not lost to a server that never ends it.
USAGE_GRACE, END_GRACE = 2.0, 0.2

OnDelta = Callable[[str], None]


class OpenAIModel:
    """A model by the name its endpoint knows (`wire_name`)."""

    is_mock = False

    def __init__(
        self,
        name: str,
        wire_name: str,
        endpoint: Endpoint,
        *,
        price: ListPrice | None = None,
        timeout: float | None = None,
    ) -> None:
        self.name = name
        self._wire_name = wire_name
        self._endpoint = endpoint
        self._price = price
        self._timeout = timeout
        self._takes_schemas = True  # as far as we know
        self._failures = Failures(name, endpoint.secrets)

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self._price.cost(usage) if self._price else None

    async def close(self) -> None:
        """Nothing: the session belongs to the process."""

    async def complete(self, request: ChatRequest, on_delta: OnDelta | None = None) -> Completion:
        """See `agentd.models.port.Model`."""
        seconds = min(request.timeout, self._timeout or request.timeout)
        answer = AnswerParser(self._failures)
        try:
            async with self._failures.within(seconds) as deadline:
                await self._exchange(request, on_delta, answer, deadline)
        except ModelError as error:
            # Only the end of the body was still to come: see the graces above.
            if error.code != "model_timeout" or answer.finish_reason is None:
                raise
        return answer.completion(self._price)

    async def _exchange(
        self,
        request: ChatRequest,
        on_delta: OnDelta | None,
        answer: AnswerParser,
        deadline: asyncio.Timeout,
        *,
        again: bool = True,
    ) -> None:
        counted, native = self._endpoint.counts_streams, self._takes_schemas
        body = self._body(request, stream=on_delta is not None, counted=counted)
        answered = False
        try:
            async with self._endpoint.post(body) as response:
                answered = True
                if response.status // 100 == 2:
                    await self._receive(response, on_delta, answer, deadline)
                    return
                refusal = (await _read(response, MAX_REFUSAL)).decode(errors="replace")
        except aiohttp.ClientError as error:
            if again and not answered and _hung_up(error):
                # Before its first byte: most likely it crossed our request with an end of its own.
                await self._exchange(request, on_delta, answer, deadline, again=False)
                return
            if answer.finish_reason is None:
                # Not `from error`: aiohttp's carries the request's headers, and the key in them.
                raise self._broken(error, answered) from None
            return
        if response.status == 400 and on_delta and counted and "stream_options" in refusal:
            self._endpoint.counts_streams = False
            await self._exchange(request, on_delta, answer, deadline)
            return
        if request.schema and native and is_refusal(response.status, refusal):
            self._takes_schemas = False
            await self._exchange(request, on_delta, answer, deadline)
            return
        raise self._refused(response, refusal)

    def _body(self, request: ChatRequest, *, stream: bool, counted: bool) -> bytes:
        body: dict[str, Any] = {"model": self._wire_name, "messages": request.messages}
        if request.schema and self._takes_schemas:
            body["response_format"] = response_format(request.schema)
        elif request.schema:
            body["messages"] = in_words(request.messages, request.schema)
        if stream:
            body["stream"] = True
            if counted:
                body["stream_options"] = {"include_usage": True}
        body |= request.parameters
        if request.tools:
            body["tools"] = [*body.get("tools", ()), *request.tools]
        try:
            return json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            what = f"a parameter cannot be sent as JSON: {error}"
            raise self._failures.error("model_config", what) from error

    async def _receive(
        self,
        response: aiohttp.ClientResponse,
        on_delta: OnDelta | None,
        answer: AnswerParser,
        deadline: asyncio.Timeout,
    ) -> None:
        # A server that does not stream answers whole, whatever was asked.
        if on_delta and response.content_type != "application/json":
            await self._receive_stream(response, on_delta, answer, deadline)
            return
        body = await _read(response, MAX_BODY)
        if len(body) > MAX_BODY:
            raise answer.too_large()
        text = answer.add_whole(self._json(body))
        if on_delta and text:
            on_delta(text)

    async def _receive_stream(
        self,
        response: aiohttp.ClientResponse,
        on_delta: OnDelta,
        answer: AnswerParser,
        deadline: asyncio.Timeout,
    ) -> None:
        events = EventStream()
        finished = False
        async for piece in response.content.iter_any():
            for data in events.feed(piece):
                if data == b"[DONE]":
                    _hurry(deadline, END_GRACE)
                    continue
                text = answer.add(self._json(data))
                if text:
                    on_delta(text)
            if events.pending > MAX_BODY:
                raise answer.too_large()
            if answer.finish_reason and not finished:
                finished = True
                _hurry(deadline, USAGE_GRACE)

    def _json(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            shown = data[:200].decode(errors="replace")
            what = f"not JSON: {shown}" if data else "an empty answer"
            raise self._failures.error("model_garbage", what) from error

    def _refused(self, response: aiohttp.ClientResponse, text: str) -> ModelError:
        if "Location" in response.headers:
            text = f"moved to {response.headers['Location']}"
        if response.status == 404 and self._endpoint.bare:
            text += f" (is the API below {self._endpoint.base}/v1?)"
        return self._failures.refused(response.status, text, response.headers)

    def _broken(self, error: aiohttp.ClientError, answered: bool) -> ModelError:
        if answered:
            return self._failures.error("model_truncated", f"the answer broke off ({error})")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            what = f"{self._endpoint.base} has a certificate that is not trusted ({error})"
            return self._failures.error("model_config", what)
        if isinstance(error, aiohttp.ClientResponseError):
            what = f"{self._endpoint.base} does not speak HTTP ({error.message})"
            return self._failures.error("model_garbage", what)
        reason = shorten(str(error)) or type(error).__name__
        what = f"no connection to {self._endpoint.base} ({reason})"
        return self._failures.error("model_overloaded", what)


def _hung_up(error: aiohttp.ClientError) -> bool:
    """Whether the server ended the connection, without a word."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return True
    return isinstance(error, aiohttp.ClientOSError) and error.errno in (ECONNRESET, EPIPE)


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body; of one that is longer than `most` bytes, its beginning, a little more than that."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            break
    return b"".join(pieces)


def _hurry(deadline: asyncio.Timeout, seconds: float) -> None:
    """Brings the deadline forward, never back."""
    soon = asyncio.get_running_loop().time() + seconds
    due = deadline.when()
    deadline.reschedule(soon if due is None else min(due, soon))
