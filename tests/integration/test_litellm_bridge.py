"""Calls through litellm keep the same promises as direct calls."""

from __future__ import annotations

import asyncio
import json
import traceback
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from agentd.errors import ModelError
from agentd.manifest.agent import ModelRef
from agentd.models import litellm_bridge
from agentd.models.choose import Models
from agentd.models.litellm_bridge import Litellm
from agentd.models.port import ChatRequest, Completion, Model, ToolCall, Usage
from agentd.testing.stub_model import Behaviour, Fault, StubModel

pytestmark = [
    # The first test imports litellm, which takes seconds, and many more on a busy machine.
    pytest.mark.timeout(120),
    # litellm uses what pydantic 2.11 deprecated. As an error, the warning would break its streams.
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

KEY = "sk-aVerySecretKey123"
HI = ({"role": "user", "content": "Hello there"},)
NAME = "deepseek/deepseek-chat"

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class Endpoint:
    """A stub, and models that litellm calls there."""

    def __init__(self, stub: StubModel, models: Models) -> None:
        self.stub = stub
        self.models = models

    def model(self, name: str) -> Model:
        ref = ModelRef.model_validate({"name": name, "api_base": self.stub.url, "api_key": KEY})
        return self.models.open(ref)

    async def ask(
        self,
        *,
        stream: bool,
        name: str = NAME,
        timeout: float = 60.0,
        parameters: Mapping[str, Any] | None = None,
    ) -> Completion:
        pieces: list[str] = []
        request = ChatRequest(HI, parameters or {}, timeout)
        model = self.model(name)
        answer = await model.complete(request, pieces.append if stream else None)
        assert not stream or "".join(pieces) == answer.text
        return answer

    async def failure(self, fault: Fault, *, stream: bool, timeout: float = 60.0) -> ModelError:
        self.stub.behaviour = Behaviour(fault=fault)
        calls = self.stub.count
        with pytest.raises(ModelError) as caught:
            await self.ask(stream=stream, timeout=timeout)
        assert self.stub.count == calls + 1  # litellm did not retry
        text = str(caught.value)
        assert text.startswith(f"{NAME}: ")
        assert KEY not in "".join(traceback.format_exception(caught.value))
        assert "litellm." not in text
        return caught.value


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Imports litellm, which takes seconds: the deadlines of the calls in a test are shorter."""
    asyncio.run(Litellm().module())


@pytest.fixture
async def endpoint() -> AsyncGenerator[Endpoint]:
    async with StubModel().serve() as stub:
        models = Models({})
        yield Endpoint(stub, models)
        await models.close()


@both
async def test_an_answer_has_text_reasoning_usage_and_cost(
    endpoint: Endpoint, stream: bool
) -> None:
    endpoint.stub.behaviour = Behaviour(tokens=4, reasoning="let me think")
    answer = await endpoint.ask(stream=stream, parameters={"temperature": 0.5})
    assert answer.text == "w0 w1 w2 w3 "
    assert (answer.model, answer.finish_reason) == (NAME, "stop")
    assert answer.reasoning == "let me think"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 4)
    assert answer.cost is not None
    assert 0 < answer.cost < 1e-4
    assert endpoint.stub.last[-1]["temperature"] == 0.5


@both
async def test_tool_calls_are_read(endpoint: Endpoint, stream: bool) -> None:
    call = {"name": "get_weather", "arguments": '{"city": "Bonn"}'}
    endpoint.stub.behaviour = Behaviour(tool_calls=[call])
    answer = await endpoint.ask(stream=stream)
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == (ToolCall("call_0", "get_weather", '{"city": "Bonn"}'),)


async def test_a_schema_is_sent_where_litellm_says_that_it_is_supported(endpoint: Endpoint) -> None:
    schema = {"type": "object", "required": ["score"]}
    request = ChatRequest(HI, {}, 60.0, schema=schema)
    native = endpoint.model(NAME)
    await native.complete(request)
    assert endpoint.stub.last[-1]["response_format"]["json_schema"]["schema"] == schema
    endpoint.stub.behaviour = Behaviour(fault="no-schemas")
    for calls in (
        3,
        4,
    ):  # the second was refused, and from the third on the schema is sent in words
        await native.complete(request)
        assert endpoint.stub.count == calls
    assert '"score"' in endpoint.stub.last[-1]["messages"][0]["content"]
    await endpoint.model("xai/grok-4").complete(request)
    assert "response_format" not in endpoint.stub.last[-1]


async def test_a_refusal_by_a_content_policy_has_its_own_code(endpoint: Endpoint) -> None:
    error = await endpoint.failure("policy", stream=False)
    assert (error.code, error.retryable) == ("model_refused", False)


REFUSALS = [("401", "model_auth"), ("429", "model_rate_limited"), ("500", "model_overloaded")]


@both
@pytest.mark.parametrize(("fault", "code"), REFUSALS)
async def test_an_error_status_becomes_a_code(
    endpoint: Endpoint, fault: Fault, code: str, stream: bool
) -> None:
    error = await endpoint.failure(fault, stream=stream)
    assert (error.code, error.status) == (code, int(fault))
    assert error.retry_after == (7.0 if fault == "429" else None)


@pytest.mark.parametrize("fault", ["truncated", "cut", "empty", "garbage"])
async def test_an_incomplete_stream_is_an_error(endpoint: Endpoint, fault: Fault) -> None:
    error = await endpoint.failure(fault, stream=True)
    assert (error.code, error.retryable) == ("model_truncated", True)


@pytest.mark.parametrize("fault", ["no-choices", "garbage", "truncated", "empty"])
async def test_a_response_that_is_not_an_answer_is_an_error(
    endpoint: Endpoint, fault: Fault
) -> None:
    error = await endpoint.failure(fault, stream=False)
    assert (error.code, error.retryable) == ("model_garbage", True)


@both
async def test_an_error_inside_the_answer_is_an_error(endpoint: Endpoint, stream: bool) -> None:
    error = await endpoint.failure("error-inside", stream=stream)
    assert (error.code, error.status) == ("model_overloaded", 503)
    assert "upstream is overloaded" in str(error)


@both
@pytest.mark.parametrize("fault", ["hang", "drip"])
async def test_the_timeout_bounds_the_whole_call(
    endpoint: Endpoint, fault: Fault, stream: bool
) -> None:
    await endpoint.ask(stream=stream)
    error = await endpoint.failure(fault, stream=stream, timeout=0.5)
    assert (error.code, error.retryable) == ("model_timeout", True)
    for _ in range(500):
        if not endpoint.stub.in_flight:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the connection was not closed")


async def test_refused_stream_options_are_never_sent_again(endpoint: Endpoint) -> None:
    endpoint.stub.behaviour = Behaviour(fault="no-stream-options", tokens=2)
    assert (await endpoint.ask(stream=True, name="deepseek/old")).text == "w0 w1 "
    calls = endpoint.stub.count
    await endpoint.ask(stream=True, name="deepseek/old")
    assert endpoint.stub.count == calls + 1


async def test_parameters_cannot_control_litellm(endpoint: Endpoint) -> None:
    for name in ("mock_response", "custom_llm_provider", "headers", "logger_fn", "model_list"):
        with pytest.raises(ModelError, match=f"`{name}` is not a parameter") as caught:
            await endpoint.ask(stream=False, parameters={name: "x"})
        assert caught.value.code == "model_config"
    assert endpoint.stub.count == 0


async def test_a_huge_answer_is_an_error(endpoint: Endpoint) -> None:
    endpoint.stub.behaviour = Behaviour(text="x" * 5_000_000)
    for stream in (False, True):
        with pytest.raises(ModelError) as caught:
            await endpoint.ask(stream=stream)
        assert caught.value.code == "model_too_large"


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [("novita/x", "model_auth", "NOVITA_API_KEY"), (NAME, "model_overloaded", "Cannot connect")],
)
async def test_an_error_that_litellm_reports_as_a_500_gets_its_own_code(
    unused_tcp_port: int, name: str, code: str, text: str
) -> None:
    models = Models({})
    model = models.open(ModelRef(name=name, api_base=f"http://127.0.0.1:{unused_tcp_port}/v1"))
    with pytest.raises(ModelError, match=text) as caught:
        await model.complete(ChatRequest(HI, {}, 60), None)
    await models.close()
    assert (caught.value.code, caught.value.status) == (code, None)


@both
async def test_litellm_prints_nothing(
    endpoint: Endpoint, capfd: pytest.CaptureFixture[str], stream: bool
) -> None:
    for name in ("groq/x", "groq/fault-401", "groq/fault-truncated", "groq/fault-500"):
        with suppress(ModelError):
            await endpoint.ask(stream=stream, name=name)
    assert capfd.readouterr() == ("", "")


async def test_a_cancellation_passes_through(endpoint: Endpoint) -> None:
    arrived = asyncio.Event()

    def drip(*_: object) -> Behaviour:
        arrived.set()
        return Behaviour(fault="drip")

    endpoint.stub.plan = drip
    task = asyncio.create_task(endpoint.ask(stream=True))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@asynccontextmanager
async def answering(
    path: str, handler: Callable[[web.Request], Awaitable[web.Response]]
) -> AsyncGenerator[tuple[str, Models]]:
    """The address of a server that answers with `handler`, and models."""
    app = web.Application()
    app.router.add_post(path, handler)
    runner, models = web.AppRunner(app), Models({})
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", models
    finally:
        await models.close()
        await runner.cleanup()


def packed(data: bytes, *, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(data) + packer.flush()


@both
@pytest.mark.parametrize(
    ("coding", "wbits"),
    [("gzip", 31), ("deflate", 15), ("deflate", -15), ("identity", None)],
    ids=["gzip", "zlib", "raw", "plain"],
)
async def test_an_answer_is_read_and_unpacked_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, coding: str, wbits: int | None, stream: bool
) -> None:
    size = 0

    async def complete(_: web.Request) -> web.Response:
        message = {"role": "assistant", "content": "Hi."}
        choice = {"index": 0, "finish_reason": "stop"}
        kind, key = ("chat.completion.chunk", "delta") if stream else ("chat.completion", "message")
        answer = {"id": "c", "object": kind, "created": 1, "model": "m"}
        text = json.dumps({**answer, "choices": [{**choice, key: message}]})
        body = f"data: {text}\n\ndata: [DONE]\n\n" if stream else text
        data = body.encode() + b" " * size
        return web.Response(
            body=packed(data, wbits=wbits) if wbits else data,
            content_type="text/event-stream" if stream else "application/json",
            headers={"Content-Encoding": coding} if wbits else None,
        )

    async with answering("/chat/completions", complete) as (url, models):
        ref = ModelRef.model_validate({"name": NAME, "api_base": url, "api_key": KEY})
        model, hear = models.open(ref), (lambda _: None) if stream else None
        assert (await model.complete(ChatRequest(HI, {}, 60.0), hear)).text == "Hi."
        monkeypatch.setattr(litellm_bridge, "LARGEST", 100_000)
        size = 200_000
        with pytest.raises(ModelError, match="larger than 100,000 bytes") as caught:
            await model.complete(ChatRequest(HI, {}, 60.0), hear)
        assert caught.value.code == "model_garbage"


async def test_a_prompt_is_marked_for_the_cache_of_its_provider() -> None:
    """As Anthropic's API has it; the tokens that it reads from its cache are counted."""
    bodies: list[Any] = []

    async def messages(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 2000}
        content = [{"type": "text", "text": "Grey."}]
        return web.json_response(
            {
                **{"id": "m", "type": "message", "role": "assistant", "model": "claude"},
                **{"content": content, "stop_reason": "end_turn", "usage": usage},
            }
        )

    async with answering("/v1/messages", messages) as (base, models):
        ref = {"name": "anthropic/claude-sonnet-4-5", "api_base": base, "api_key": KEY}
        model = models.open(ModelRef.model_validate({**ref, "prompt_cache": True}))
        chat = ({"role": "system", "content": "Be brief."}, *HI)
        answer = await model.complete(ChatRequest(chat, {}, 60))
    [body] = bodies
    mark = {"type": "ephemeral"}
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    assert body["messages"][-1]["content"][-1]["cache_control"] == mark
    assert answer.usage
    assert (answer.usage.cache_read, answer.usage.input_tokens) == (2000, 2010)
    assert answer.cost
    assert answer.cost < (model.cost_of(Usage(2010, 5)) or 0)
