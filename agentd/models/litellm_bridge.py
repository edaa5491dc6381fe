"""Models of every other provider, through litellm: imported when first used, and kept honest."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from importlib import import_module
from typing import Any

from agentd.errors import ModelError
from agentd.models.answer import AnswerParser
from agentd.models.failures import Failures
from agentd.models.port import ChatRequest, Completion, Usage
from agentd.models.prices import ListPrice
from agentd.models.response_format import in_words, is_refusal, response_format

# Read by litellm when it is imported: no price list from the network, no `.env` of the working
# directory, no tokenizers from the network (22 s until they are given up).
_SWITCHES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "HF_HUB_OFFLINE": "1",
}
# Of the hundreds of parameters that steer litellm itself (other servers, credentials, callbacks,
# made-up answers), these are the ones that only say which model is meant.
_HARMLESS = frozenset({"api_version", "region_name"})

# "litellm.AuthenticationError: AuthenticationError: DeepseekException - {the provider's JSON}"
_CLASSES = re.compile(r"^(litellm\.)?(\w+: )*(\w+Exception - )?")
# All of these are a 500 by litellm's account, though no server has said anything.
_NOT_A_500 = (
    (re.compile("Missing credentials|api_key client option must be set"), "model_auth"),
    (re.compile("No module named"), "model_config"),
    (re.compile("Cannot connect|Connection refused"), "model_overloaded"),
)


class Litellm:
    """The library, imported once, in a thread; it takes 2 to 8 seconds and 150 MB."""

    def __init__(self) -> None:
        self._module: Any = None

    async def module(self) -> Any:
        if self._module is None:
            self._module = await asyncio.to_thread(_load)
        return self._module

    async def close(self) -> None:
        if self._module is not None:
            await self._module.close_litellm_async_clients()


def _load() -> Any:
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
    litellm: Any = import_module("litellm")
    litellm.suppress_debug_info = True  # banners on stdout
    litellm.telemetry = False
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).disabled = True
    # The first call imports for another 0.3 s, which would be the event loop's if not done here.
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "-"}], "mock_response": "-"}
    litellm.completion(**ask)
    list(litellm.completion(**ask, stream=True))
    return litellm


class LitellmModel:
    """One model by litellm's name for it. `secrets` are whatever keys its errors might show."""

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
        self._counts_streams = True
        self._takes_schemas: bool | None = None  # None until it is known
        self._failures = Failures(name, secrets)

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self._price.cost(usage) if self._price else None

    async def close(self) -> None:
        """Nothing: litellm's connections belong to the process."""

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `agentd.models.port.Model`."""
        seconds = min(request.timeout, self._timeout or request.timeout)
        answer = AnswerParser(self._failures)
        async with self._failures.within(seconds):
            litellm = await self._library.module()
            self._refuse_steering(litellm, request.parameters)
            if on_delta is None:
                response = await self._call(litellm, request, seconds)
                answer.add_whole(response.model_dump())
            else:
                async with aclosing(self._stream(litellm, request, seconds, answer)) as texts:
                    async for text in texts:
                        on_delta(text)
        return answer.completion(self._price)

    async def _stream(
        self, litellm: Any, request: ChatRequest, seconds: float, answer: AnswerParser
    ) -> AsyncGenerator[str]:
        """The pieces of text; afterwards `answer` knows whether they were all."""
        stream = await self._call(litellm, request, seconds, stream=True)
        try:
            async with aclosing(stream):  # or an answer given up on would keep its connection
                async for chunk in stream:
                    text = answer.add(chunk.model_dump())
                    if text:
                        yield text
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001 every library of a provider raises here
            raise self._failed(error, streaming=True) from None
        # litellm ends a stream with "stop" however it ended. What the provider said is kept here,
        # in CustomStreamWrapper; other kinds of stream pass the provider's own chunks through.
        said = getattr(stream, "received_finish_reason", answer.finish_reason)
        if not said and not getattr(stream, "intermittent_finish_reason", None):
            answer.finish_reason = None

    async def _call(
        self, litellm: Any, request: ChatRequest, seconds: float, *, stream: bool = False
    ) -> Any:
        options: dict[str, Any] = {**request.parameters}
        messages = [dict(message) for message in request.messages]
        native = request.schema is not None and self._knows_schemas(litellm)
        if request.schema and native:
            options.setdefault("response_format", response_format(request.schema))
        elif request.schema:
            messages = [dict(message) for message in in_words(messages, request.schema)]
        if request.tools:
            options["tools"] = [*options.get("tools", ()), *request.tools]
        counted = stream and self._counts_streams and "stream_options" not in options
        if counted:
            options["stream_options"] = {"include_usage": True}
        try:
            return await litellm.acompletion(
                **options,
                **self._target,
                messages=messages,
                stream=stream,
                timeout=seconds,
                max_retries=0,
                num_retries=0,
            )
        except Exception as error:  # noqa: BLE001 as above
            if counted and "stream_options" in str(error):
                self._counts_streams = False
            elif native and is_refusal(getattr(error, "status_code", None), str(error)):
                self._takes_schemas = False
            else:
                raise self._failed(error) from None
        return await self._call(litellm, request, seconds, stream=stream)

    def _knows_schemas(self, litellm: Any) -> bool:
        """Whether the model can be held to a schema, by litellm's account of it."""
        if self._takes_schemas is None:
            self._takes_schemas = bool(litellm.supports_response_schema(model=self.name))
        return self._takes_schemas

    def _refuse_steering(self, litellm: Any, parameters: Mapping[str, Any]) -> None:
        for name in parameters:
            if name in litellm.all_litellm_params and name not in _HARMLESS:
                what = f"`{name}` is not a parameter of the model: it steers litellm"
                raise self._failures.error("model_config", what)

    def _failed(self, error: Exception, *, streaming: bool = False) -> ModelError:
        """litellm's exception as ours. Not raised `from` it, because it may show the key."""
        inner = getattr(error, "original_exception", None) or error
        status = getattr(inner, "status_code", None)
        text = _CLASSES.sub("", str(inner)).partition("Traceback (most recent call last)")[0]
        if streaming and "Connection" in type(inner).__name__:
            return self._failures.error("model_truncated", f"the answer broke off ({text})")
        for pattern, code in _NOT_A_500:
            if status == 500 and pattern.search(text):
                return self._failures.error(code, text)
        if not isinstance(status, int) or status < 300:  # an answer it could not make sense of
            return self._failures.error("model_garbage", f"{type(inner).__name__}: {text}")
        if "ContentPolicyViolation" in type(inner).__name__:
            return self._failures.error("model_refused", text, status=status)
        headers = getattr(inner, "litellm_response_headers", None) or {}
        return self._failures.refused(status, text, headers)
