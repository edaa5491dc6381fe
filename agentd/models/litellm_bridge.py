"""Models of all other providers, through litellm, which is imported at first use.

litellm hides failures that agentd must see: a stream that is cut off looks complete, its timeout is
for each read, it retries by itself, and its errors show keys. This module takes all of that back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import zlib
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from functools import partial
from importlib import import_module
from typing import Any

from agentd.errors import ModelError
from agentd.models.failures import Failures
from agentd.models.port import ChatRequest, Completion, Usage
from agentd.models.prices import ListPrice
from agentd.models.wire.answer import AnswerParser
from agentd.models.wire.cache_marks import taken_out
from agentd.models.wire.chat import sendable
from agentd.models.wire.optional_parts import OptionalParts, Part
from agentd.models.wire.response_format import in_words, response_format

# litellm reads these when it is imported. Without them it fetches a price list from the network,
# loads `.env` of the working directory, and tries for 22 s to download a tokenizer.
_SWITCHES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "HF_HUB_OFFLINE": "1",
}
# litellm has hundreds of parameters of its own: for other servers, credentials, callbacks, invented
# answers. A manifest or a sender may not set them. These two only say which model is meant.
_HARMLESS = frozenset({"api_version", "region_name"})

# "litellm.AuthenticationError: AuthenticationError: DeepseekException - {the provider's JSON}"
_CLASSES = re.compile(r"^(litellm\.)?(\w+: )*(\w+Exception - )?")
# litellm reports these as a status 500, although no server has answered.
_NOT_A_500 = (
    (re.compile("Missing credentials|api_key client option must be set"), "model_auth"),
    (re.compile("No module named"), "model_config"),
    (re.compile("Cannot connect|Connection refused"), "model_overloaded"),
)
_LARGER = "the answer is larger than"
LARGEST = 64 * 1024**2  # bytes of an answer or a stream, unpacked


class Litellm:
    """The library, imported once, in a thread. The import takes 2 to 8 seconds and 150 MB."""

    def __init__(self) -> None:
        self._module: Any = None

    async def module(self) -> Any:
        if self._module is None:
            self._module = await asyncio.to_thread(_load)
        return self._module

    async def close(self) -> None:
        """Closes the connections that litellm keeps open."""
        if self._module is not None:
            await self._module.close_litellm_async_clients()


def _load() -> Any:
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
    litellm: Any = import_module("litellm")
    litellm.suppress_debug_info = True  # it prints banners on stdout
    litellm.telemetry = False
    # They print each error, which agentd reports itself.
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).disabled = True
    _bound_answers()
    # The first call imports modules for another 0.3 s, which would block the event loop.
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "-"}], "mock_response": "-"}
    litellm.completion(**ask)
    list(litellm.completion(**ask, stream=True))
    return litellm


class _Bounded:
    """Takes an answer up to a limit, as a decoder of httpx."""

    def __init__(self) -> None:
        self._room = LARGEST

    def decode(self, data: bytes) -> bytes:
        self._room -= len(data)
        if self._room < 0:
            raise ValueError(f"{_LARGER} {LARGEST:,} bytes")
        return data

    def flush(self) -> bytes:
        return b""


class _Unpacker(_Bounded):
    """Unpacks an answer up to a limit; 64 kB of gzip can have 64 MB."""

    def __init__(self, *kinds: int) -> None:
        """`kinds` are what the answer may be: `wbits` of zlib."""
        super().__init__()
        self._kinds = kinds
        self._unpacker = zlib.decompressobj(kinds[0])
        self._began = False

    def decode(self, data: bytes) -> bytes:
        if data and not self._began:
            self._began = True
            # `deflate` has the header of zlib, or none: its first byte tells.
            if data[0] & 0x0F != 8:
                self._unpacker = zlib.decompressobj(self._kinds[-1])
        return super().decode(self._unpacker.decompress(data, self._room + 1))


def _bound_answers() -> None:
    """Bounds the answers of httpx, which litellm uses for all providers: it has no limit, and no
    setting for one. agentd itself does not use it."""
    decoders: dict[str, Any] = import_module("httpx._decoders").SUPPORTED_DECODERS
    models: Any = import_module("httpx._models")
    decoders["identity"] = models.IdentityDecoder = _Bounded
    decoders["gzip"] = partial(_Unpacker, 16 + zlib.MAX_WBITS)
    decoders["deflate"] = partial(_Unpacker, zlib.MAX_WBITS, -zlib.MAX_WBITS)
    # Not asked for: they are there if somebody has installed their packages.
    for name in ("br", "zstd"):
        decoders.pop(name, None)


class LitellmModel:
    """One model by litellm's name for it. `secrets` are the keys that its errors could show."""

    is_mock = False

    def __init__(
        self,
        name: str,
        library: Litellm,
        *,
        api_key: str | None = None,
        api_base: str | None = None,
        price: ListPrice | None = None,
        timeout: float | None = None,
        secrets: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._library = library
        self._target = {"model": name, "api_key": api_key, "api_base": api_base}
        self._price = price
        self._timeout = timeout
        self._knows_schemas: bool | None = None  # whether litellm says that it takes them
        self._parts = OptionalParts()
        self._failures = Failures(name, secrets)

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self._price.cost(usage) if self._price else None

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `agentd.models.port.Model`."""
        seconds = min(request.timeout, self._timeout or request.timeout)
        answer = AnswerParser(self._failures, self._price)
        try:
            async with self._failures.within(seconds):
                await self._exchange(request, seconds, answer, on_delta)
        except ModelError as error:
            answer.charge(error)
            raise
        return answer.completion(request.parameters)

    async def _exchange(
        self,
        request: ChatRequest,
        seconds: float,
        answer: AnswerParser,
        on_delta: Callable[[str], None] | None,
    ) -> None:
        litellm = await self._library.module()
        self._check_parameters(litellm, request.parameters)
        if on_delta is None:
            response = await self._call(litellm, request, seconds)
            answer.add_whole(response.model_dump())
            return
        async with aclosing(self._stream(litellm, request, seconds, answer)) as texts:
            async for text in texts:
                on_delta(text)

    async def _stream(
        self, litellm: Any, request: ChatRequest, seconds: float, answer: AnswerParser
    ) -> AsyncGenerator[str]:
        """The pieces of text. Afterwards `answer` knows whether the stream was complete."""
        stream = await self._call(litellm, request, seconds, stream=True)
        try:
            async with aclosing(stream):  # or a call that is cancelled would keep its connection
                async for chunk in stream:
                    text = answer.add(chunk.model_dump())
                    if text:
                        yield text
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001 each provider's library raises its own
            raise self._failed(error, streaming=True) from None
        # litellm reports "stop" at the end of every stream, also of one that was cut off or failed.
        # The provider's own reason is in these attributes of CustomStreamWrapper. Other kinds of
        # stream have no such attributes, and pass the provider's chunks through.
        reason = getattr(stream, "received_finish_reason", answer.finish_reason)
        answer.finish_reason = reason or getattr(stream, "intermittent_finish_reason", None)

    async def _call(
        self,
        litellm: Any,
        request: ChatRequest,
        seconds: float,
        *,
        stream: bool = False,
        without: frozenset[Part] = frozenset(),
    ) -> Any:
        parts = self._parts_of(litellm, request, stream=stream) - without
        try:
            response = await litellm.acompletion(
                **self._options(request, parts),
                **self._target,
                stream=stream,
                timeout=seconds,
                # agentd retries, with the same rules on every replica. By default litellm and the
                # library of the provider turn one call into three requests.
                max_retries=0,
                num_retries=0,
            )
        except Exception as error:  # noqa: BLE001 as above
            status = getattr(error, "status_code", None)
            refused = self._parts.to_leave_out(request, parts, status, str(error))
            if refused is None:
                raise self._failed(error) from None
        else:
            self._parts.succeeded(request, without)
            return response
        without |= {refused}
        return await self._call(litellm, request, seconds, stream=stream, without=without)

    def _options(self, request: ChatRequest, parts: Collection[Part]) -> dict[str, Any]:
        options: dict[str, Any] = {**request.parameters}
        messages = request.messages if Part.MARKS in parts else taken_out(request.messages)
        messages = sendable(messages, self.name, own=Part.OWN in parts)
        if Part.SCHEMA in parts and request.schema:
            options.setdefault("response_format", response_format(request.schema))
        elif request.schema:
            messages = in_words(messages, request.schema)
        if request.tools:
            options["tools"] = [*options.get("tools", ()), *request.tools]
        if Part.USAGE in parts:
            options.setdefault("stream_options", {"include_usage": True})
        # Copied: litellm changes the messages.
        return {**options, "messages": [dict(message) for message in messages]}

    def _parts_of(self, litellm: Any, request: ChatRequest, *, stream: bool) -> frozenset[Part]:
        parts = self._parts.of(request, streamed=stream)
        if Part.SCHEMA not in parts:
            return parts
        if self._knows_schemas is None:  # looked up once: it is slow
            self._knows_schemas = bool(litellm.supports_response_schema(model=self.name))
        return parts if self._knows_schemas else parts - {Part.SCHEMA}

    def _check_parameters(self, litellm: Any, parameters: Mapping[str, Any]) -> None:
        for name in parameters:
            if name in litellm.all_litellm_params and name not in _HARMLESS:
                text = f"`{name}` is not a parameter of the model, it controls litellm"
                raise self._failures.error("model_config", text, hint="remove it")

    def _failed(self, error: Exception, *, streaming: bool = False) -> ModelError:
        """litellm's exception as a `ModelError`, never raised `from` it: it may show the key."""
        inner = getattr(error, "original_exception", None) or error
        status = getattr(inner, "status_code", None)
        text = _CLASSES.sub("", str(inner)).partition("Traceback (most recent call last)")[0]
        if _LARGER in text:
            return self._failures.error("model_garbage", text)
        if streaming and "Connection" in type(inner).__name__:
            text = f"the connection ended before the answer was complete: {text}"
            return self._failures.error("model_truncated", text)
        for pattern, code in _NOT_A_500:
            if status == 500 and pattern.search(text):
                failed = self._failures.error(code, text)
                failed.unavailable = code == "model_overloaded"
                return failed
        if not isinstance(status, int) or status < 300:  # it could not parse the answer
            return self._failures.error("model_garbage", f"{type(inner).__name__}: {text}")
        if "ContentPolicyViolation" in type(inner).__name__:
            return self._failures.error("model_refused", text, status=status)
        headers = getattr(inner, "litellm_response_headers", None) or {}
        return self._failures.refused(status, text, headers)
