"""Direct calls of a real server that works, is slow, says little, or is broken."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from agentd.errors import ModelError
from agentd.manifest.agent import ModelRef
from agentd.models.address import waits_for_plain
from agentd.models.choose import Models
from agentd.models.endpoint import Endpoint as HttpEndpoint
from agentd.models.endpoint import Http
from agentd.models.openai_http import OpenAIModel
from agentd.models.port import ChatRequest, Completion, Model, ToolCall
from agentd.models.wire.body import USAGE_GRACE
from agentd.testing.stub_model import HUGE, Behaviour, Fault, StubModel

KEY = "sk-aVerySecretKey123"
HI = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there"})


class Endpoint:
    """A stub, and models that talk to it."""

    def __init__(self, stub: StubModel, models: Models) -> None:
        self.stub = stub
        self.models = models

    def open(self, name: str = "openai/gpt-4o-mini", **fields: Any) -> Model:
        return self.models.open(ModelRef.model_validate({"name": name, **fields}))

    async def ask(
        self, *, stream: bool, name: str = "openai/gpt-4o-mini", timeout: float = 5.0, **stub: Any
    ) -> Completion:
        """The answer. Of a streamed one, the pieces are compared with the text."""
        pieces: list[str] = []
        request = ChatRequest(HI, {"stub": stub} if stub else {}, timeout)
        answer = await self.open(name).complete(request, pieces.append if stream else None)
        assert not stream or "".join(pieces) == answer.text
        return answer

    async def failure(self, fault: Fault, *, stream: bool, timeout: float = 5.0) -> ModelError:
        with pytest.raises(ModelError) as caught:
            await self.ask(stream=stream, timeout=timeout, fault=fault)
        assert str(caught.value).startswith("openai/gpt-4o-mini: ")
        assert KEY not in "".join(traceback.format_exception(caught.value))
        return caught.value

    async def all_closed(self) -> None:
        """Waits until no call is left on the server: the client has closed the connection."""
        await self.in_flight(0)

    async def in_flight(self, calls: int) -> None:
        for _ in range(500):
            if self.stub.in_flight == calls:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"{self.stub.in_flight} calls are in flight")


@pytest.fixture
async def endpoint() -> AsyncGenerator[Endpoint]:
    async with StubModel().serve() as stub:
        models = Models({"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": KEY})
        yield Endpoint(stub, models)
        await models.close()


@asynccontextmanager
async def server(handler: Any) -> AsyncGenerator[str]:
    """A server with one handler, for what the stub cannot do."""
    app = web.Application()
    app.router.add_post("/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@both
async def test_an_answer_has_text_usage_and_cost(endpoint: Endpoint, stream: bool) -> None:
    answer = await endpoint.ask(stream=stream, tokens=4)
    assert answer.text == "w0 w1 w2 w3 "
    assert answer.model == "openai/gpt-4o-mini"
    assert answer.finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 4)
    assert answer.cost == pytest.approx(4 * 0.15e-6 + 4 * 0.6e-6)
    body = endpoint.stub.last[-1]
    assert body["model"] == "gpt-4o-mini"
    assert body["messages"] == list(HI)
    assert endpoint.stub.headers[-1]["Authorization"] == f"Bearer {KEY}"


@both
async def test_the_cost_is_not_known_without_a_price(endpoint: Endpoint, stream: bool) -> None:
    answer = await endpoint.ask(stream=stream, name="openai/mine")
    assert answer.usage is not None
    assert answer.cost is None


@both
async def test_tool_calls_and_reasoning_are_read(endpoint: Endpoint, stream: bool) -> None:
    calls = [
        {"name": "get_weather", "arguments": '{"city": "Bonn", "days": 3}'},
        {"name": "get_time", "arguments": "{}"},
    ]
    answer = await endpoint.ask(stream=stream, tool_calls=calls, reasoning="let me look that up")
    assert answer.text == ""
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls == (
        ToolCall("call_0", "get_weather", '{"city": "Bonn", "days": 3}'),
        ToolCall("call_1", "get_time", "{}"),
    )
    assert answer.reasoning == "let me look that up"
    assert answer.usage is not None
    assert answer.usage.reasoning_tokens == 5


async def test_parameters_and_tools_are_sent_unchanged(endpoint: Endpoint) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    parameters = {"temperature": 0.2, "stop": ["x"], "vendor": {"deep": [1, None, "é"]}}
    await endpoint.open().complete(ChatRequest(HI, parameters, 5, tools=[tool]))
    body = endpoint.stub.last[-1]
    assert {key: body[key] for key in parameters} == parameters
    assert body["tools"] == [tool]
    assert "stream" not in body


@pytest.mark.parametrize("value", [float("nan"), object()])
async def test_a_parameter_that_is_not_json_is_an_error(endpoint: Endpoint, value: object) -> None:
    with pytest.raises(ModelError) as caught:
        await endpoint.open().complete(ChatRequest(HI, {"x": value}, 5))
    assert caught.value.code == "model_config"
    assert endpoint.stub.count == 0


STATUSES = [
    ("401", "model_auth", 401, False),
    ("404", "model_not_found", 404, False),
    ("429", "model_rate_limited", 429, True),
    ("500", "model_overloaded", 500, True),
]


@both
@pytest.mark.parametrize(("fault", "code", "status", "retryable"), STATUSES)
async def test_an_error_status_becomes_a_code(
    endpoint: Endpoint, fault: Fault, code: str, status: int, retryable: bool, stream: bool
) -> None:
    error = await endpoint.failure(fault, stream=stream)
    assert (error.code, error.status, error.retryable) == (code, status, retryable)
    assert error.retry_after == (7.0 if status == 429 else None)
    if status == 401:
        assert "Incorrect API key provided: [key]." in str(error)


BREAKS = [
    ("garbage", "model_garbage", "model_garbage"),
    ("truncated", "model_garbage", "model_truncated"),
    ("cut", "model_truncated", "model_truncated"),
    ("no-choices", "model_garbage", "model_truncated"),
    ("empty", "model_truncated", "model_truncated"),
    ("error-inside", "model_overloaded", "model_overloaded"),
]


@both
@pytest.mark.parametrize(("fault", "whole", "streamed"), BREAKS)
async def test_an_incomplete_answer_is_an_error(
    endpoint: Endpoint, fault: Fault, whole: str, streamed: str, stream: bool
) -> None:
    error = await endpoint.failure(fault, stream=stream)
    assert error.code == (streamed if stream else whole)
    assert error.retryable


@both
@pytest.mark.parametrize("fault", ["hang", "drip", "slow-headers"])
async def test_the_timeout_bounds_the_whole_call(
    endpoint: Endpoint, fault: Fault, stream: bool
) -> None:
    error = await endpoint.failure(fault, stream=stream, timeout=0.3)
    assert (error.code, error.retryable) == ("model_timeout", True)
    assert "within 0.3 s" in str(error)
    await endpoint.all_closed()


async def test_the_timeout_of_a_model_can_be_shorter_than_that_of_the_task(
    endpoint: Endpoint,
) -> None:
    model = endpoint.open(timeout=0.1)
    with pytest.raises(ModelError, match=r"within 0\.1 s"):
        await model.complete(ChatRequest(HI, {"stub": {"fault": "hang"}}, 30))


@both
async def test_a_huge_answer_is_not_read_to_the_end(endpoint: Endpoint, stream: bool) -> None:
    error = await endpoint.failure("huge", stream=stream, timeout=30)
    assert (error.code, error.retryable) == ("model_too_large", False)
    await endpoint.all_closed()
    assert endpoint.stub.sent < HUGE / 2


async def test_a_server_that_never_ends_its_stream_loses_no_answer(endpoint: Endpoint) -> None:
    answer = await endpoint.ask(stream=True, fault="no-done", tokens=3, timeout=60)
    assert answer.text == "w0 w1 w2 "
    assert answer.usage is not None
    await endpoint.all_closed()


async def test_a_timeout_after_the_finish_reason_loses_no_answer(endpoint: Endpoint) -> None:
    timeout = 1.5  # passes while the usage is waited for
    assert timeout < USAGE_GRACE
    answer = await endpoint.ask(stream=True, fault="no-done", tokens=3, timeout=timeout)
    assert answer.finish_reason == "stop"


async def test_refused_stream_options_are_never_sent_again(endpoint: Endpoint) -> None:
    endpoint.stub.behaviour = Behaviour(fault="no-stream-options", tokens=2)
    for calls in (2, 3):
        answer = await endpoint.ask(stream=True)
        assert (answer.text, answer.usage, answer.cost) == ("w0 w1 ", None, None)
        assert endpoint.stub.count == calls
    await endpoint.ask(stream=True, name="openai/another-model")
    assert endpoint.stub.count == 4


async def test_an_answer_that_is_not_streamed_comes_in_one_piece(endpoint: Endpoint) -> None:
    async def whole(_request: web.Request) -> web.Response:
        return web.json_response({"choices": [{"message": {"content": "all at once"}}]})

    async with server(whole) as url:
        pieces: list[str] = []
        model = endpoint.open(api_base=url)
        answer = await model.complete(ChatRequest(HI, {}, 5), pieces.append)
    assert pieces == [answer.text] == ["all at once"]


async def test_characters_may_be_cut_anywhere(endpoint: Endpoint) -> None:
    text = "Grüße, 世界 🦅! " * 20

    async def drops(request: web.Request) -> web.StreamResponse:
        event = {"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}
        wire = f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\ndata: [DONE]\r\n\r\n".encode()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for start in range(0, len(wire), 7):
            await response.write(wire[start : start + 7])
            await asyncio.sleep(0)
        return response

    async with server(drops) as url:
        pieces: list[str] = []
        model = endpoint.open(api_base=url)
        await model.complete(ChatRequest(HI, {}, 5), pieces.append)
    assert "".join(pieces) == text


def own_certificate(folder: Path) -> ssl.SSLContext:
    """The TLS of a server whose certificate nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(built.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_a_forgotten_v1_is_suggested(endpoint: Endpoint) -> None:
    async def nothing(_request: web.Request) -> web.Response:
        raise web.HTTPNotFound

    async with server(nothing) as url:
        with pytest.raises(ModelError) as caught:
            await endpoint.open(api_base=url).complete(ChatRequest(HI, {}, 5))
    assert f"(asked for {url}/chat/completions; is the API at {url}/v1?)" in str(caught.value)


async def test_a_server_without_tls_is_no_outage_that_passes(endpoint: Endpoint) -> None:
    base = endpoint.stub.url.replace("http://", "https://")
    with pytest.raises(ModelError) as caught:
        await endpoint.open(api_base=base).complete(ChatRequest(HI, {}, 5))
    assert f"the server speaks no TLS; write {endpoint.stub.url})" in str(caught.value)
    assert (caught.value.code, caught.value.retryable) == ("model_config", False)


async def test_a_server_that_takes_tls_for_half_a_request_is_found_before_the_timeout(
    endpoint: Endpoint,
) -> None:
    async def line_by_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(line_by_line, "127.0.0.1", 0) as plain:
        address = f"127.0.0.1:{plain.sockets[0].getsockname()[1]}/v1"
        with pytest.raises(ModelError) as caught:
            await endpoint.open(api_base=f"https://{address}").complete(ChatRequest(HI, {}, 60))
    assert f"the server speaks no TLS; write http://{address})" in str(caught.value)
    assert (caught.value.code, caught.value.retryable) == ("model_config", False)


async def test_a_server_with_tls_that_is_slow_to_connect_is_not_taken_for_a_plain_one() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        assert not await waits_for_plain(url)


async def test_a_server_with_tls_that_hangs_up_is_named_with_https(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    async with await asyncio.start_server(
        lambda *_: None, "127.0.0.1", 0, ssl=own_certificate(tmp_path)
    ) as tls:
        address = f"127.0.0.1:{tls.sockets[0].getsockname()[1]}/v1"
        with pytest.raises(ModelError) as caught:
            await endpoint.open(api_base=f"http://{address}").complete(ChatRequest(HI, {}, 5))
        assert f"if it speaks TLS, write https://{address}" in str(caught.value)
        with pytest.raises(ModelError, match="is not trusted"):
            await endpoint.open(api_base=f"https://{address}").complete(ChatRequest(HI, {}, 5))


async def test_a_redirect_is_an_error_of_the_address(endpoint: Endpoint) -> None:
    async def elsewhere(_request: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently("https://example.org/v2")

    async with server(elsewhere) as url:
        with pytest.raises(ModelError, match=r"redirects to https://example\.org/v2") as caught:
            await endpoint.open(api_base=url).complete(ChatRequest(HI, {}, 5))
    assert (caught.value.code, caught.value.retryable) == ("model_config", False)


async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []

    async def proxy(request: web.Request) -> web.Response:
        urls.append(str(request.url))
        return web.json_response({"choices": [{"message": {"content": "by proxy"}}]})

    async with server(proxy) as url:
        monkeypatch.setenv("http_proxy", url.removeprefix("http://"))
        models = Models({})
        model = models.open(ModelRef(name="openai/x", api_base="http://model.invalid/v1"))
        answer = await model.complete(ChatRequest(HI, {}, 5))
        await models.close()
    assert answer.text == "by proxy"
    assert urls == ["http://model.invalid/v1/chat/completions"]
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(ModelError, match="http_proxy is not an http:// or https:// one"):
        Models({}).open(ModelRef(name="openai/x", api_base="http://model.invalid/v1"))


async def test_a_server_that_does_not_run_is_an_error_with_its_address(
    endpoint: Endpoint, unused_tcp_port: int
) -> None:
    base = f"http://127.0.0.1:{unused_tcp_port}/v1"
    with pytest.raises(ModelError, match=f"no connection to {base}: Connection refused") as caught:
        await endpoint.open(api_base=base).complete(ChatRequest(HI, {}, 5))
    assert (caught.value.code, caught.value.retryable) == ("model_overloaded", True)


async def test_a_connection_that_ends_before_the_answer_is_an_error(endpoint: Endpoint) -> None:
    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        await asyncio.sleep(1)
        return web.Response()

    async with server(drop) as url:
        with pytest.raises(ModelError, match="no connection") as caught:
            await endpoint.open(api_base=url).complete(ChatRequest(HI, {}, 5))
    assert caught.value.retryable


@pytest.mark.parametrize("steps", range(12))
async def test_a_blocked_event_loop_is_no_fault_of_the_endpoint(
    endpoint: Endpoint, steps: int
) -> None:
    """Whatever a call was doing when the loop was blocked: it is made once, and answered."""
    patient = HttpEndpoint(Http(connect=0.2), endpoint.stub.url, None)
    model = OpenAIModel("openai/x", "x", patient)
    call = asyncio.create_task(model.complete(ChatRequest(HI, {}, 5)))
    for _ in range(steps):
        await asyncio.sleep(0)
    time.sleep(1.3)  # noqa: ASYNC251 (the fault)
    assert (await call).text
    assert endpoint.stub.count == 1
    await patient.http.close()


async def test_a_server_of_another_protocol_is_an_error(endpoint: Endpoint) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as mail:
        port = mail.sockets[0].getsockname()[1]
        model = endpoint.open(api_base=f"http://127.0.0.1:{port}/v1")
        with pytest.raises(ModelError, match="does not answer in HTTP") as caught:
            await model.complete(ChatRequest(HI, {}, 5))
    assert caught.value.code == "model_garbage"


@both
async def test_without_a_key_no_header_is_sent(endpoint: Endpoint, stream: bool) -> None:
    models = Models({"OLLAMA_HOST": endpoint.stub.url.removesuffix("/v1")})
    model = models.open(ModelRef(name="ollama/llama3.1"))
    on_delta = (lambda _piece: None) if stream else None
    answer = await model.complete(ChatRequest(HI, {}, 5), on_delta)
    await models.close()
    assert answer.cost == 0.0  # listed as free
    assert "Authorization" not in endpoint.stub.headers[-1]
    assert endpoint.stub.last[-1]["model"] == "llama3.1"


async def test_many_calls_run_at_the_same_time(endpoint: Endpoint) -> None:
    calls = 300
    arrived = 0
    all_arrived = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal arrived
        arrived += 1
        if arrived == calls:
            all_arrived.set()
        await all_arrived.wait()  # a limit of connections would block here until the timeout
        return await StubModel(Behaviour(tokens=3)).answer(request)

    async with server(answer) as url:
        model = endpoint.open(api_base=url)
        request = ChatRequest(HI, {}, 50)
        hooks = [None, lambda _piece: None] * (calls // 2)
        answers = await asyncio.gather(*(model.complete(request, hook) for hook in hooks))
    assert {each.text for each in answers} == {"w0 w1 w2 "}


@both
async def test_a_connection_is_used_for_the_next_call(endpoint: Endpoint, stream: bool) -> None:
    peers: set[Any] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return await StubModel().answer(request)

    async with server(answer) as url:
        model = endpoint.open(api_base=url)
        for _ in range(5):
            on_delta = (lambda _piece: None) if stream else None
            await model.complete(ChatRequest(HI, {}, 5), on_delta)
    assert len(peers) == 1


async def test_a_cancelled_call_closes_its_connection(endpoint: Endpoint) -> None:
    task = asyncio.create_task(endpoint.ask(stream=True, fault="drip", timeout=30))
    await endpoint.in_flight(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await endpoint.all_closed()


async def test_an_error_of_on_delta_passes_through(endpoint: Endpoint) -> None:
    def on_delta(_piece: str) -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await endpoint.open().complete(ChatRequest(HI, {}, 5), on_delta)


async def test_after_every_fault_the_next_call_succeeds(endpoint: Endpoint) -> None:
    model = endpoint.open()
    for fault in get_args(Fault):
        parameters = {"stub": {"fault": fault, "retry_after": "0"}}
        for on_delta in (None, lambda _piece: None):
            with suppress(ModelError):
                await model.complete(ChatRequest(HI, parameters, 0.2), on_delta)
            assert (await endpoint.ask(stream=True, tokens=1)).text == "w0 "


async def test_the_stub_takes_faults_by_name_and_by_plan(endpoint: Endpoint) -> None:
    with pytest.raises(ModelError) as caught:
        await endpoint.ask(stream=False, name="openai/fault-404")
    assert caught.value.code == "model_not_found"
    endpoint.stub.plan = lambda number, _body: (
        replace(endpoint.stub.behaviour, fault="500") if number % 2 else None
    )
    with pytest.raises(ModelError):
        await asyncio.gather(endpoint.ask(stream=False), endpoint.ask(stream=False))


def test_a_direct_call_does_not_import_litellm() -> None:
    code = (
        "import asyncio, sys\n"
        "from agentd.manifest.agent import ModelRef\n"
        "from agentd.models.port import ChatRequest\n"
        "from agentd.models.choose import Models\n"
        "from agentd.testing.stub_model import StubModel\n"
        "async def main():\n"
        "    async with StubModel().serve() as stub:\n"
        "        models = Models({})\n"
        "        model = models.open(ModelRef(name='openai/gpt-4o', api_base=stub.url))\n"
        "        hi = [{'role': 'user', 'content': 'x'}]\n"
        "        await model.complete(ChatRequest(hi, {}, 5), lambda piece: None)\n"
        "        await models.close()\n"
        "asyncio.run(main())\n"
        "assert 'litellm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_stub_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "agentd.testing.stub_model", "--port", "0", "--tokens", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        async def ask() -> str:
            models = Models({})
            model = models.open(ModelRef(name="openai/x", api_base=url))
            answer = await model.complete(ChatRequest(HI, {}, 5))
            await models.close()
            return answer.text

        try:
            assert asyncio.run(ask()) == "w0 w1 "
        finally:
            process.terminate()
        assert process.wait(10) == 0


@both
async def test_an_answer_that_is_compressed_is_not_unpacked(
    endpoint: Endpoint, stream: bool
) -> None:
    async def answer(_: web.Request) -> web.Response:
        kind = "text/event-stream" if stream else "application/json"
        body = gzip.compress(bytes(20_000_000))
        return web.Response(body=body, headers={"Content-Encoding": "gzip", "Content-Type": kind})

    async with server(answer) as url:
        model = endpoint.open("openai/any", api_base=url, api_key=KEY)
        with pytest.raises(
            ModelError, match=r"is compressed \(gzip\).*switch compression off"
        ) as e:
            await model.complete(ChatRequest(HI, {}, 5), (lambda _: None) if stream else None)
    assert e.value.code == "model_garbage"


async def test_an_answer_of_too_many_values_is_refused(endpoint: Endpoint) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="[" + "[]," * 300_000 + "[]]", content_type="application/json")

    async with server(answer) as url:
        model = endpoint.open("openai/any", api_base=url, api_key=KEY)
        with pytest.raises(ModelError, match="not JSON"):
            await model.complete(ChatRequest(HI, {}, 5), None)
