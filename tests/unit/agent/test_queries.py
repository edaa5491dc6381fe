"""A query is answered, or refused, on its reply subject."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.outcome import Outcome
from agentd.agent.queries import Queries
from agentd.errors import BusError, TaskError
from agentd.protocol.message import AgentMessage, decode
from tests.unit.workbench import MANIFEST, ScriptedModel, Workbench, revision_of

SUBJECT = "agents.dev.query.analysis.sentiment"


class Asker:
    """Sends queries to an agent with this model."""

    def __init__(self, folder: Path, model: ScriptedModel, more: str = "") -> None:
        self.bench = Workbench(revision_of(folder, f"{MANIFEST}\n{more}", model))
        self.outcomes: list[tuple[AgentMessage, Outcome]] = []
        self.queries = Queries(
            self.bench.services,
            lambda: self.bench.revision,
            lambda query, outcome: self.outcomes.append((query, outcome)),
        )

    async def ask(self, body: Mapping[str, Any] | bytes, subject: str = SUBJECT) -> AgentMessage:
        """The reply to a query."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.bench.bus.request(subject, data, headers={"traceparent": PARENT})
        return decode(answer.data)

    async def error(self, body: Mapping[str, Any] | bytes) -> str:
        """The code of the error in the reply."""
        await self.queries.listen(["analysis"])
        content = (await self.ask(body)).payload.content
        [(_, outcome)] = self.outcomes
        assert not outcome.success
        return content["error"]["code"]


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HELLO = {"id": "q-1", "payload": {"content": "hello"}}


@pytest.mark.parametrize(
    "reply", ["agents.dev.result.analysis.x.t-2", "$JS.API.STREAM.DELETE.AGENTD_LOG", "due.dev.x"]
)
async def test_a_query_cannot_have_its_answer_put_on_a_subject_of_agentd(
    tmp_path: Path, reply: str
) -> None:
    asker = Asker(tmp_path, ScriptedModel("hi"))
    await asker.queries.listen(["analysis"])
    await asker.bench.bus.publish(SUBJECT, json.dumps(HELLO).encode(), reply=reply)
    assert (await asker.ask(HELLO)).payload.content["data"] == "hi"  # the next one is answered
    assert len(asker.outcomes) == 1
    assert reply not in [subject for subject, _ in asker.bench.bus.published]


async def test_a_query_is_answered_and_counted(tmp_path: Path) -> None:
    asker = Asker(tmp_path, ScriptedModel("hi"))
    await asker.queries.listen(["analysis"])
    reply = await asker.ask(HELLO)
    assert (reply.type, reply.source.id, reply.correlation_id) == ("result", "me", "q-1")
    assert reply.payload.content["data"] == "hi"
    [(query, outcome)] = asker.outcomes
    assert (query.id, outcome.success) == ("q-1", True)
    assert asker.bench.stored("result.>") == []  # a query leaves nothing on record


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"garbage", "malformed"),
        ({**HELLO, "target": "you"}, "malformed"),
        ({**HELLO, "routing": {"timeout": 1}, "timestamp": 5}, "expired"),
    ],
)
async def test_a_query_that_the_agent_cannot_take_is_refused(
    tmp_path: Path, body: Mapping[str, Any] | bytes, code: str
) -> None:
    assert await Asker(tmp_path, ScriptedModel()).error(body) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [(TaskError("no", code="any"), "any"), (BusError("no server"), "unavailable")],
)
async def test_an_error_of_the_run_is_the_reply(
    tmp_path: Path, error: Exception, code: str
) -> None:
    assert await Asker(tmp_path, ScriptedModel(error)).error(HELLO) == code


class Patient(ScriptedModel):
    """A model that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def complete(self, *args: Any, **options: Any) -> Any:
        self.begun.set()
        await self.go.wait()
        return await super().complete(*args, **options)


async def test_a_query_beyond_the_concurrency_is_refused_immediately(tmp_path: Path) -> None:
    model = Patient()
    asker = Asker(tmp_path, model, "limits: {concurrency: 1}")
    await asker.queries.listen(["analysis"])
    first = asyncio.create_task(asker.ask(HELLO))
    await model.begun.wait()
    content = (await asker.ask(HELLO)).payload.content
    assert (content["error"]["code"], content["error"]["retryable"]) == ("overloaded", True)
    model.go.set()
    assert (await first).payload.content["success"] is True


async def test_only_queries_for_its_capabilities_are_answered(tmp_path: Path) -> None:
    asker = Asker(tmp_path, ScriptedModel())
    await asker.queries.listen(["analysis", "other"])
    assert {each.subject for each in asker.bench.bus.subscriptions} == {
        "agents.dev.query.analysis.*",
        "agents.dev.query.other.*",
    }
    await asker.queries.listen(["other"])
    assert [each.subject for each in asker.bench.bus.subscriptions] == ["agents.dev.query.other.*"]
    kept = asker.bench.bus.subscriptions[0]
    await asker.queries.listen(["other"])
    assert asker.bench.bus.subscriptions == [kept]
    await asker.queries.close()
    assert asker.bench.bus.subscriptions == []


async def test_a_query_without_a_reply_subject_is_run_and_not_answered(tmp_path: Path) -> None:
    asker = Asker(tmp_path, ScriptedModel())
    await asker.queries.listen(["analysis"])
    await asker.bench.bus.publish(SUBJECT, json.dumps(HELLO).encode())
    for _ in range(20):
        await asyncio.sleep(0)
    assert [outcome.success for _, outcome in asker.outcomes] == [True]
    assert [subject for subject, _ in asker.bench.bus.published] == [SUBJECT]


async def test_a_query_whose_content_the_agent_does_not_accept_is_refused(tmp_path: Path) -> None:
    model = ScriptedModel("hi")
    asker = Asker(tmp_path, model, "accepts: {type: object}")
    assert await asker.error(HELLO) == "invalid_input"
    assert model.requests == []
