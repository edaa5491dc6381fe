"""A result is stored once, together with all that belongs to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.commit import commit, refuse
from agentd.agent.delivered_task import DeliveredTask
from agentd.agent.outcome import store
from agentd.errors import BusError, Conflict, TaskError, Undeliverable
from agentd.models.port import Completion, ToolCall
from agentd.nats import jetstream
from agentd.nats.bus import Msg
from agentd.nats.jetstream import Record
from agentd.queue.dead_letters import ATTEMPTS, ERROR, REASON
from agentd.run.loop import RunResult
from tests.unit.workbench import MANIFEST, Workbench, revision_of

REMEMBERING = f"{MANIFEST}\nhistory: {{max_messages: 4}}"
CHAT = {"context": {"conversationId": "c"}}


def workbench(folder: Path, manifest: str = MANIFEST) -> Workbench:
    return Workbench(revision_of(folder, manifest))


def task_of(bench: Workbench, **fields: Any) -> DeliveredTask:
    body = {"id": "t-1", "payload": {"content": "hello"}, **fields}
    return bench.task(bench.delivery(body))


async def answered(task: DeliveredTask, data: Any = "hi") -> None:
    completion = Completion("hi", "m", "stop", cost=0.0)
    await commit(task, task.outcome(result=RunResult(data=data, completion=completion, asked="q")))


def exchanges(bench: Workbench) -> list[tuple[str, str]]:
    contents = [each.payload.content for each in bench.stored("event.conversation.*")]
    return [(each["user"], each["assistant"]) for each in contents]


async def test_the_first_result_stands(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    await answered(task_of(bench), "first")
    with pytest.raises(Conflict):
        await answered(task_of(bench), "second")
    assert bench.result()["data"] == "first"


async def test_a_batch_that_is_refused_without_a_result_is_no_answer(tmp_path: Path) -> None:
    """The task would be acknowledged, and end with nothing."""
    bench = workbench(tmp_path)
    task = task_of(bench)
    await jetstream.store(bench.services.bus, "agents.dev.event.a.b", b"", message_id="known")
    record = Record(subject="agents.dev.event.a.b", data=b"", message_id="known")
    failed = task.outcome(error=TaskError("no", code="x"))
    with pytest.raises(BusError, match="there is no result") as raised:
        await store(
            bench.services.bus,
            task.result_subject,
            failed,
            task=task.message,
            source=task.source,
            headers={},
            also=[record],
        )
    assert not isinstance(raised.value, Conflict)


@pytest.mark.parametrize(("data", "text"), [("hi", "hi"), ({"ä": 1}, '{"ä": 1}')])
async def test_an_answer_in_a_conversation_is_remembered_with_its_result(
    tmp_path: Path, data: Any, text: str
) -> None:
    bench = workbench(tmp_path)
    await answered(task_of(bench, **CHAT), data)
    assert exchanges(bench) == [("q", text)]


@pytest.mark.parametrize(("manifest", "count"), [(MANIFEST, 0), (REMEMBERING, 1)])
async def test_a_task_that_is_its_own_conversation_is_remembered_only_with_a_history(
    tmp_path: Path, manifest: str, count: int
) -> None:
    bench = workbench(tmp_path, manifest)
    await answered(task_of(bench))
    assert len(exchanges(bench)) == count


@pytest.mark.parametrize("manifest", [MANIFEST, REMEMBERING])
@pytest.mark.parametrize(("memory", "count"), [(True, 1), (False, 0)])
async def test_the_sender_may_say_what_is_remembered(
    tmp_path: Path, manifest: str, memory: bool, count: int
) -> None:
    bench = workbench(tmp_path, manifest)
    await answered(task_of(bench, context={"memory": memory}))
    await answered(task_of(bench, id="t-2", context={"conversationId": "c", "memory": memory}))
    assert len(exchanges(bench)) == 2 * count


async def test_calls_that_are_given_back_are_not_remembered(tmp_path: Path) -> None:
    bench = workbench(tmp_path, REMEMBERING)
    task = task_of(bench, **CHAT)
    completion = Completion("", "m", "tool_calls", cost=0.0)
    asked = RunResult(data="", completion=completion, given_back=(ToolCall("a", "now", "{}"),))
    await commit(task, task.outcome(result=asked))
    assert bench.result()["calls"] == [{"id": "a", "name": "now", "arguments": "{}"}]
    assert exchanges(bench) == []


async def test_an_error_is_not_remembered_and_not_a_dead_letter(tmp_path: Path) -> None:
    bench = workbench(tmp_path, REMEMBERING)
    task = task_of(bench, **CHAT)
    await commit(task, task.outcome(error=TaskError("no", code="any")))
    assert bench.result()["error"]["code"] == "any"
    assert (exchanges(bench), bench.stored("dlq.>")) == ([], [])


async def test_a_task_that_is_given_up_leaves_a_dead_letter_with_its_result(
    tmp_path: Path,
) -> None:
    bench = workbench(tmp_path)
    task = task_of(bench)
    error = Undeliverable("three\nattempts", code="exhausted")
    await commit(task, task.outcome(error=error), attempt=3)
    letter = bench.dead_letter()
    assert (letter[REASON], letter[ERROR], letter[ATTEMPTS]) == ("exhausted", "three attempts", "3")
    with pytest.raises(Conflict):
        await commit(task, task.outcome(error=error), attempt=4)
    assert bench.dead_letter()[ATTEMPTS] == "3"


async def test_a_refused_task_was_not_attempted(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    outcome = await refuse(task_of(bench), Undeliverable("no", code="malformed"))
    assert outcome.error
    assert bench.result()["error"]["code"] == bench.dead_letter()[REASON] == "malformed"


async def test_an_answer_that_fits_into_no_message_is_an_error_of_the_task(
    tmp_path: Path,
) -> None:
    """A large answer is stored as an object, but what surrounds it must fit."""
    bench = workbench(tmp_path)
    task = task_of(bench, **CHAT)
    completion = Completion("hi", "m", "stop", reasoning="x" * bench.bus.max_message)
    await commit(task, task.outcome(result=RunResult(data="hi", completion=completion)))
    error = bench.result()["error"]
    assert error["code"] == "answer_too_large"
    assert "the server takes 1,000,000" in error["message"]
    assert exchanges(bench) == []


async def test_a_copy_goes_to_the_reply_subject(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    heard: list[Msg] = []

    async def hear(msg: Msg) -> None:
        heard.append(msg)

    await bench.bus.subscribe("copies", hear)
    await answered(task_of(bench, replyTo="copies"))
    await bench.bus.fence()
    [copy] = heard
    assert json.loads(copy.data)["payload"]["content"]["data"] == "hi"
