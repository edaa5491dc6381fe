"""Agents with several models, with rates over all replicas, and with cached answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentd.errors import ModelError
from agentd.manifest.agent import ModelRef
from agentd.manifest.rate import Allowance
from agentd.models.choose import AgentRate, Models
from agentd.models.port import ChatRequest
from agentd.nats import jetstream, streams
from agentd.nats.bus import Bus
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, new
from agentd.protocol.subjects import Subjects
from agentd.routing.ask import Delay, ask
from agentd.runtime.sharing import AnswerCache, rate_window
from agentd.testing.stub_model import Behaviour, Fault, StubModel
from tests.integration.conftest import Team

GOOD = "openai/good"
HI = ({"role": "user", "content": "hello"},)


@pytest.fixture
async def stub() -> AsyncIterator[StubModel]:
    async with StubModel(Behaviour(text="It is fine. ")).serve() as server:
        yield server


def entry(stub: StubModel, name: str, **fields: Any) -> str:
    """A model of a list, as YAML on one line."""
    return json.dumps({"name": name, "api_base": stub.url, **fields})


def manifest(*models: str, **more: Any) -> str:
    lines = [f"{name}: {json.dumps(value)}" for name, value in more.items()]
    return "\n".join(["capabilities: [x]", f"model: [{', '.join(models)}]", *lines, ""])


async def run_events(team: Team, task: str) -> list[AgentMessage]:
    found = jetstream.stored(team.bus, streams.LOG, team.subjects.event("run", task))
    return [decode(msg.data) async for msg in found]


def measured(team: Team, model: str, status: str) -> bool:
    text = team.metrics.expose()[0].decode()
    return f'agentd_model_calls_total{{model="{model}",status="{status}"}}' in text


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("401", "model_auth"),
        ("404", "model_not_found"),
        ("429", "model_rate_limited"),
        ("500", "model_overloaded"),
        ("garbage", "model_garbage"),
        ("no-choices", "model_truncated"),
        ("error-inside", "model_overloaded"),
        ("reset", "model_overloaded"),
    ],
)
async def test_after_an_error_the_next_model_is_called(
    team: Team, stub: StubModel, fault: Fault, code: str
) -> None:
    bad = f"openai/fault-{fault}"
    stub.behaviour = Behaviour(text="Fine.")
    # With another key: after a 429, all models with the first key are in the cooldown.
    models = entry(stub, bad), entry(stub, GOOD, api_key="sk-other")
    await team.run(me=manifest(*models, stream=fault == "no-choices"))
    answer = await team.ask("x", "hello", id="t1")
    assert (answer["data"], answer["model"], answer["success"]) == ("Fine.", GOOD, True)
    failed, made = answer["attempts"]
    assert (failed["model"], failed["code"], made["model"]) == (bad, code, GOOD)
    [event] = await run_events(team, "t1")
    failure = event.payload.content
    assert (failure["event"], failure["model"], failure["code"]) == ("model_failed", bad, code)
    assert measured(team, bad, code)
    assert measured(team, GOOD, "success")


async def test_after_an_empty_stream_the_next_model_is_called(team: Team, stub: StubModel) -> None:
    await team.run(me=manifest(entry(stub, "openai/fault-empty"), entry(stub, GOOD)))
    answer = await team.ask("x", "hello")
    assert (answer["model"], answer["attempts"][0]["code"]) == (GOOD, "model_truncated")


async def test_after_streamed_text_no_other_model_is_called(team: Team, stub: StubModel) -> None:
    models = entry(stub, "openai/fault-cut"), entry(stub, GOOD)
    await team.run(me=manifest(*models, retry={"attempts": 1}))
    answer = await team.ask("x", "hello")
    assert (answer["success"], answer["error"]["code"]) == (False, "exhausted")
    assert [body["model"] for body in stub.last] == ["fault-cut"]


async def test_after_a_refusal_by_a_content_policy_no_other_model_is_called(
    team: Team, stub: StubModel
) -> None:
    await team.run(me=manifest(entry(stub, "openai/fault-policy"), entry(stub, GOOD)))
    answer = await team.ask("x", "hello")
    assert (answer["error"]["code"], stub.count) == ("model_refused", 1)


async def test_the_error_names_every_model_that_failed(team: Team, stub: StubModel) -> None:
    await team.run(me=manifest(entry(stub, "openai/fault-401"), entry(stub, "openai/fault-404")))
    error = (await team.ask("x", "hello"))["error"]
    assert (error["code"], error["retryable"]) == ("model_auth", False)
    assert "openai/fault-401: answered 401" in error["message"]
    assert "openai/fault-404: answered 404" in error["message"]


async def test_a_connection_that_ends_without_an_answer_is_tried_once_more(stub: StubModel) -> None:
    models = Models({})
    stub.plan = lambda number, _: Behaviour(fault="reset") if number == 1 else None
    model = models.open(ModelRef(name=GOOD, api_base=stub.url))
    answer = await model.complete(ChatRequest(HI, {}, 10.0))
    assert (answer.text, stub.count) == ("It is fine. ", 2)
    stub.plan = lambda number, _: Behaviour(fault="reset")
    with pytest.raises(ModelError) as caught:
        await model.complete(ChatRequest(HI, {}, 10.0))
    assert (caught.value.code, stub.count) == ("model_overloaded", 4)
    await models.close()


async def test_a_task_waits_for_a_server_that_is_started_later_and_says_so(
    team: Team, unused_tcp_port: int
) -> None:
    """First nothing listens, then the server loads its model, then it answers."""
    base = f"http://127.0.0.1:{unused_tcp_port}/v1"
    model = json.dumps({"name": GOOD, "api_base": base})
    await team.run(me=manifest(model, retry={"attempts": 1}))
    loads = [Behaviour(fault="503"), Behaviour(fault="503"), Behaviour(text="Fine.")]
    later = StubModel(plan=lambda number, _: loads[min(number, 3) - 1])
    task = new("task", "hello", source=AgentIdentity(id="asker"))
    parts = ask(team.bus, team.subjects, Destination("x", "y"), task, timeout=30)
    delays: list[str] = []
    content: Any = None
    async with contextlib.AsyncExitStack() as stack:
        async for part in parts:
            if isinstance(part, Delay):
                if not delays:
                    await stack.enter_async_context(later.serve(port=unused_tcp_port))
                delays.append(part.text)
            elif isinstance(part, AgentMessage):
                content = part.payload.content
    assert content["data"] == "Fine."
    assert [each.get("code") for each in content["attempts"]] == ["model_overloaded", None]
    refused, loading = delays
    assert refused.startswith(f"waiting: {GOOD}: no connection to {base}: ")
    assert "(is the server running?)" in refused
    assert loading.startswith(f"waiting: {GOOD}: answered 503: ")


async def test_the_other_models_are_called_for_one_without_a_key(team: Team) -> None:
    await team.run(me="capabilities: [x]\nmodel: [openai/gpt-4o, mock/echo]\n")
    answer = await team.ask("x", "hello")
    assert (answer["model"], answer["attempts"][0]["code"]) == ("mock/echo", "model_auth")
    assert "OPENAI_API_KEY" in answer["attempts"][0]["message"]


async def test_a_message_chooses_its_model(team: Team, stub: StubModel) -> None:
    routes = [
        {"when": "content | length > 10", "name": "openai/large", "api_base": stub.url},
        {"when": "message.routing.priority > 8", "name": "openai/fast", "api_base": stub.url},
        {"when": "content != 'nothing'", "name": GOOD, "api_base": stub.url},
    ]
    await team.run(me=f"capabilities: [x]\nmodel: {json.dumps({'routes': routes})}\n")
    assert (await team.ask("x", "a long question"))["model"] == "openai/large"
    assert (await team.ask("x", "short"))["model"] == GOOD
    assert (await team.ask("x", "short", routing={"priority": 9}))["model"] == "openai/fast"
    named = {"content": "short", "model": "openai/large"}
    assert (await team.ask("x", "short", payload=named))["model"] == "openai/large"
    assert (await team.ask("x", "nothing"))["error"]["code"] == "no_model"


def replica(bus: Bus, subjects: Subjects) -> Models:
    """The models of another process."""
    models = Models({})
    models.rates.share(lambda key, allowance: rate_window(bus, subjects.env, key, allowance))
    models.cache.share(AnswerCache(bus, subjects.env))
    return models


@pytest.mark.parametrize("whose", ["agent", "model"])
async def test_replicas_share_a_rate(
    bus: Bus, subjects: Subjects, stub: StubModel, whose: str
) -> None:
    replicas = [replica(bus, subjects), replica(bus, subjects)]
    rate = None if whose == "agent" else "8/s"
    ref = ModelRef.model_validate({"name": GOOD, "api_base": stub.url, "rate": rate})
    agent = AgentRate("me", Allowance(8, 1.0)) if whose == "agent" else None
    opened = [models.open(ref, agent=agent) for models in replicas]
    clock = asyncio.get_running_loop().time
    began = clock()
    answers = await asyncio.gather(
        *(opened[number % 2].complete(ChatRequest(HI, {}, 30.0)) for number in range(20))
    )
    assert len(answers) == stub.count == 20
    # Eight at once, eight a second later, four after another second. A slow machine only takes
    # longer.
    assert clock() - began > 1.9
    for models in replicas:
        await models.close()


async def test_tokens_are_corrected_to_what_was_used(
    bus: Bus, subjects: Subjects, stub: StubModel
) -> None:
    models = replica(bus, subjects)
    ref = ModelRef.model_validate({"name": GOOD, "api_base": stub.url, "tokens": "2000/h"})
    model = models.open(ref)
    for _ in range(3):  # each is estimated at a thousand, and takes four
        assert (await model.complete(ChatRequest(HI, {}, 30.0))).usage
    with pytest.raises(ModelError) as caught:
        await model.complete(ChatRequest(HI, {"max_tokens": 1990}, 30.0))
    error = caught.value
    assert (error.code, error.retryable, stub.count) == ("model_rate_limited", True, 3)
    assert error.retry_after
    assert 1800 < error.retry_after < 3800
    await models.close()


async def test_a_task_that_waits_for_a_rate_uses_no_attempt(team: Team, stub: StubModel) -> None:
    await team.run(me=manifest(entry(stub, GOOD), limits={"rate": "1/h"}, retry={"attempts": 1}))
    assert (await team.ask("x", "first"))["success"]
    message = {"id": "t2", "payload": {"content": "second"}}
    await team.send(team.subjects.task("x", "x"), message)
    async with asyncio.timeout(10):
        while not (events := await run_events(team, "t2")):  # noqa: ASYNC110 (as it is stored)
            await asyncio.sleep(0.02)
    assert [event.payload.content["event"] for event in events] == ["handed_back"]
    assert "`limits.rate: 1/h` is used up" in events[0].payload.content["error"]["message"]
    hurried = await team.ask("x", "third", routing={"timeout": 5000})
    assert (hurried["error"]["code"], stub.count) == ("model_rate_limited", 1)


async def test_replicas_share_cached_answers(bus: Bus, subjects: Subjects, stub: StubModel) -> None:
    first, second = replica(bus, subjects), replica(bus, subjects)
    ref = ModelRef.model_validate(
        {"name": GOOD, "api_base": stub.url, "cache": "1m", "price": {"input": 1, "output": 1}}
    )
    pieces: list[str] = []
    request = ChatRequest(HI, {"temperature": 0.5}, 10.0)
    paid = await first.open(ref).complete(request)
    known = await second.open(ref).complete(request, pieces.append)
    assert (paid.cached, known.cached, known.cost, stub.count) == (False, True, 0.0, 1)
    assert (known.text, pieces) == (paid.text, [paid.text])
    other = await second.open(ref).complete(ChatRequest(HI, {"temperature": 0.6}, 10.0))
    assert (other.cached, stub.count) == (False, 2)
    stale = ref.model_copy(update={"cache": 1e-6})
    assert not (await second.open(stale).complete(request)).cached
    await first.close()
    await second.close()


async def test_a_cached_answer_is_marked_and_free(team: Team, stub: StubModel) -> None:
    await team.run(me=manifest(entry(stub, GOOD, cache="10m", price={"input": 5, "output": 5})))
    paid, known = await team.ask("x", "hello"), await team.ask("x", "hello")
    assert (paid["data"], "cached" in paid, paid["cost"] > 0) == (known["data"], False, True)
    assert (known["cached"], known["cost"], known["tokens"], stub.count) == (True, 0.0, 0, 1)
    assert measured(team, GOOD, "cached")


async def test_an_error_is_not_cached(bus: Bus, subjects: Subjects, stub: StubModel) -> None:
    models = replica(bus, subjects)
    stub.plan = lambda number, _: Behaviour(fault="500") if number == 1 else None
    ref = ModelRef.model_validate({"name": GOOD, "api_base": stub.url, "cache": "1m"})
    with pytest.raises(ModelError):
        await models.open(ref).complete(ChatRequest(HI, {}, 10.0))
    assert not (await models.open(ref).complete(ChatRequest(HI, {}, 10.0))).cached
    await models.close()


async def test_a_schema_is_sent_in_the_way_that_the_model_supports(
    team: Team, stub: StubModel
) -> None:
    schema = {"type": "object", "required": ["score"]}
    stub.behaviour = Behaviour(text='{"score": 1} ')
    own = {"schema": schema, "retries": 0}
    await team.run(me=manifest(entry(stub, GOOD), output=own))
    assert (await team.ask("x", "hello"))["data"] == {"score": 1}
    assert stub.last[-1]["response_format"]["json_schema"]["schema"] == schema
    await team.run(me=manifest(entry(stub, "openai/fault-no-schemas"), output=own))
    for calls in (3, 4):  # the server has refused `response_format` once, and never gets it again
        assert (await team.ask("x", "hello"))["data"] == {"score": 1}
        assert stub.count == calls
    sent = stub.last[-1]
    assert "response_format" not in sent
    assert json.dumps(schema) in sent["messages"][0]["content"]


async def test_parameters_of_a_provider_are_passed_on(team: Team, stub: StubModel) -> None:
    model = entry(stub, GOOD, parameters={"thinking": {"budget": 5}, "top_k": 1})
    await team.run(me=manifest(model, parameters={"top_k": 7, "chat_template_kwargs": {"a": [1]}}))
    await team.ask("x", "hello")
    sent = stub.last[-1]
    assert (sent["thinking"], sent["top_k"]) == ({"budget": 5}, 7)
    assert sent["chat_template_kwargs"] == {"a": [1]}


async def test_reasoning_is_counted_and_shown(team: Team, stub: StubModel) -> None:
    stub.behaviour = Behaviour(text="Yes. ", reasoning="let me think a while")
    await team.run(me=manifest(entry(stub, GOOD)))
    answer = await team.ask("x", "hello")
    assert (answer["usage"]["reasoningTokens"], answer["reasoning"]) == (5, "let me think a while")
