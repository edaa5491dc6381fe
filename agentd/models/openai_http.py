"""A model behind an OpenAI-compatible endpoint, called directly over one aiohttp session."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Collection
from errno import ECONNRESET, EPIPE
from functools import partial
from typing import Any

import aiohttp

from agentd.errors import ModelError
from agentd.models import address
from agentd.models.endpoint import Endpoint, PlainServer
from agentd.models.failures import Failures, shorten
from agentd.models.port import ChatRequest, Completion, Usage
from agentd.models.prices import ListPrice
from agentd.models.wire.answer import AnswerParser
from agentd.models.wire.body import Body
from agentd.models.wire.cache_marks import taken_out
from agentd.models.wire.chat import sendable
from agentd.models.wire.optional_parts import OptionalParts, Part
from agentd.models.wire.response_format import in_words, response_format

MAX_REFUSAL = 64 * 1024

OnDelta = Callable[[str], None]


class OpenAIModel:
    """A model of an endpoint, which knows it as `wire_name`."""

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
        self._parts = OptionalParts(endpoint.refused)
        self._failures = Failures(name, endpoint.secrets)

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self._price.cost(usage) if self._price else None

    async def complete(self, request: ChatRequest, on_delta: OnDelta | None = None) -> Completion:
        """See `agentd.models.port.Model`."""
        seconds = min(request.timeout, self._timeout or request.timeout)
        answer = AnswerParser(self._failures, self._price)
        try:
            async with self._failures.within(seconds) as deadline:
                await self._exchange(request, on_delta, answer, deadline)
        except ModelError as error:
            # With a finish_reason the answer is complete: only the end of the body was missing.
            if error.code != "model_timeout" or answer.finish_reason is None:
                answer.charge(error)
                raise
        return answer.completion(request.parameters)

    async def _exchange(
        self,
        request: ChatRequest,
        on_delta: OnDelta | None,
        answer: AnswerParser,
        deadline: asyncio.Timeout,
        *,
        again: bool = True,
        without: frozenset[Part] = frozenset(),
    ) -> None:
        """Sends the request and reads the answer.

        It is sent again after a lost connection (once), after the event loop was blocked while it
        connected, and `without` what the server refuses.
        """
        parts = self._parts.of(request, streamed=on_delta is not None) - without
        body = self._body(request, parts, stream=on_delta is not None)
        answered = False
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with self._endpoint.post(body) as response:
                answered = True
                if response.status // 100 == 2:
                    self._parts.succeeded(request, without)
                    await self._receive(response, on_delta, answer, deadline)
                    return
                refusal = (await _read(response, MAX_REFUSAL)).decode(errors="replace")
        except aiohttp.ClientError as error:
            if again and not answered and _disconnected(error):
                # Most likely the server closed a kept-alive connection while the request was on
                # its way, and has not read it.
                await self._exchange(
                    request, on_delta, answer, deadline, again=False, without=without
                )
                return
            if self._endpoint.was_blocked(error, clock() - began):
                await self._exchange(
                    request, on_delta, answer, deadline, again=again, without=without
                )
                return
            if answer.finish_reason is None:
                # Not `from error`: aiohttp's error has the headers of the request, with the key.
                raise self._connection_error(error, answered) from None
            return
        refused = self._parts.to_leave_out(request, parts, response.status, refusal)
        if refused is None:
            raise self._refused(response, refusal)
        await self._exchange(request, on_delta, answer, deadline, without=without | {refused})

    def _body(self, request: ChatRequest, parts: Collection[Part], *, stream: bool) -> bytes:
        messages = request.messages if Part.MARKS in parts else taken_out(request.messages)
        messages = sendable(messages, self.name, own=Part.OWN in parts)
        body: dict[str, Any] = {"model": self._wire_name, "messages": messages}
        if Part.SCHEMA in parts and request.schema:
            body["response_format"] = response_format(request.schema)
        elif request.schema:
            body["messages"] = in_words(messages, request.schema)
        if stream:
            body["stream"] = True
        if Part.USAGE in parts:
            body["stream_options"] = {"include_usage": True}
        body |= request.parameters
        if request.tools:
            body["tools"] = [*body.get("tools", ()), *request.tools]
        try:
            return json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            text = f"a parameter cannot be sent as JSON: {error}"
            raise self._failures.error("model_config", text) from error

    async def _receive(
        self,
        response: aiohttp.ClientResponse,
        on_delta: OnDelta | None,
        answer: AnswerParser,
        deadline: asyncio.Timeout,
    ) -> None:
        self._check_encoding(response)
        end_within = partial(_shorten_deadline, deadline)
        body = Body(answer, self._failures, on_delta or _unheard, end_within)
        # `iter_any`, not iteration by lines: aiohttp raises an error for a long line.
        async for piece in response.content.iter_any():
            body.feed(piece)
        body.end()

    def _check_encoding(self, response: aiohttp.ClientResponse) -> None:
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            text = f"the answer is compressed ({coding[:50]}), which agentd did not ask for"
            hint = "switch compression off on the server, or on the proxy in front of it"
            raise self._failures.error("model_garbage", text, hint=hint)

    def _refused(self, response: aiohttp.ClientResponse, text: str) -> ModelError:
        base = self._endpoint.base
        hint = address.hint_of(base, response.status, text)
        if "Location" in response.headers:
            text = f"{address.shown(base)} redirects to {response.headers['Location']}"
            hint = "set the address to where the API is"
        return self._failures.refused(response.status, text, response.headers, hint=hint)

    def _connection_error(self, error: aiohttp.ClientError, answered: bool) -> ModelError:
        base = address.shown(self._endpoint.base)
        if answered:
            text = f"the connection ended before the answer was complete: {error}"
            return self._failures.error("model_truncated", text)
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            text = f"the certificate of {base} is not trusted: {error}"
            return self._failures.error("model_config", text)
        if isinstance(error, aiohttp.ClientConnectorSSLError | PlainServer):
            text = f"no TLS connection to {base}: {shorten(str(error))}"
            plain = isinstance(error, PlainServer) or address.speaks_no_tls(str(error))
            hint = f"the server speaks no TLS; write {address.with_scheme(base, 'http')}"
            hint = hint if plain else ""
            return self._failures.error("model_config", text, hint=hint)
        if isinstance(error, aiohttp.ClientResponseError):
            text = f"{base} does not answer in HTTP: {error.message}"
            return self._failures.error("model_garbage", text, hint="check the port")
        text = f"no connection to {base}: {shorten(_reason(error))}"
        hint = "is the server running?"
        if isinstance(error, aiohttp.ClientConnectorError):
            return self._failures.unreachable(text, hint=hint)
        # A server without TLS waits for the rest of the request, one with TLS ends the connection.
        hint = f"{hint} {address.other_scheme(base)}"
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return self._failures.unreachable(text, hint=hint)
        # The server has received the request. It may have ended because of it.
        return self._failures.error("model_overloaded", text, hint=hint)


def _reason(error: aiohttp.ClientError) -> str:
    """Why there is no connection, as a person says it."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} is not known"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        return os.strerror(error.os_error.errno)
    return str(error) or type(error).__name__


def _disconnected(error: aiohttp.ClientError) -> bool:
    """Whether the server closed the connection without an answer."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return True
    return isinstance(error, aiohttp.ClientOSError) and error.errno in (ECONNRESET, EPIPE)


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body; if it is longer than `most` bytes, its beginning, which is a little longer too."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            break
    return b"".join(pieces)


def _unheard(text: str) -> None:
    """Takes the text of an answer that nobody follows."""


def _shorten_deadline(deadline: asyncio.Timeout, seconds: float) -> None:
    """Moves the deadline to `seconds` from now, if that is earlier."""
    soon = asyncio.get_running_loop().time() + seconds
    due = deadline.when()
    deadline.reschedule(soon if due is None else min(due, soon))
