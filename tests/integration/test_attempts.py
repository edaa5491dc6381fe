"""What becomes of a task: answered, tried again, refused or buried; on a real server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from agentd.errors import UsageError
from agentd.nats import jetstream
from agentd.nats.streams import LOG
from agentd.protocol.actor import Actor
from agentd.queue import dead_letters
from agentd.queue.journal import CALLS

if TYPE_CHECKING:
    from tests.integration.conftest import Team

SCRIPT = """
capabilities: [analysis]
model: {{name: mock/script, script: [{turn}]}}
retry: {{attempts: 3, backoff: 10ms}}
"""
OVERLOADED = SCRIPT.format(turn="{error: {status: 503, message: busy}}")
REJECTED = SCRIPT.format(turn="{error: {status: 400, message: no}}")
FINE = "capabilities: [analysis]\n"
SLOW = SCRIPT.format(turn="{text: done, latency: 10s}")


async def events_of(team: Team, task_id: str) -> list[str]:
    found = jetstream.stored(team.bus, LOG, team.subjects.event("run", task_id))
    return [json.loads(msg.data)["payload"]["content"]["event"] async for msg in found]


async def test_an_answer(team: Team) -> None:
    await team.run(me=FINE)
    content = await team.ask("analysis", "hello")
    assert content["success"]
    assert "hello" in content["data"]
    assert content["error"] is None
    assert {"model", "tokens", "cost", "latency", "revision"} <= content.keys()
    assert "reasoning" not in content
    await team.at_rest()
    assert await team.letters() == []


async def test_an_error_that_may_pass_is_tried_again_then_buried(team: Team) -> None:
    await team.run(me=OVERLOADED)
    content = await team.ask("analysis", "hello", id="t1")
    assert content["error"]["code"] == "exhausted"
    assert "3 attempts failed" in content["error"]["message"]
    await team.at_rest()
    [letter] = await team.letters()
    headers = letter.headers or {}
    assert headers[dead_letters.REASON] == "exhausted"
    assert headers[dead_letters.ATTEMPTS] == "3"
    assert json.loads(letter.data)["payload"] == {"content": "hello"}
    assert await events_of(team, "t1") == ["attempt_failed", "attempt_failed"]


async def test_the_time_of_a_task_is_that_of_all_its_attempts(team: Team) -> None:
    await team.run(me=SLOW + "limits: {timeout: 500ms}\n")
    content = await team.ask("analysis", "hello", id="t1")
    assert content["error"]["code"] == "expired"
    assert "limits.timeout (0.5 s)" in content["error"]["message"]
    assert "attempt 1 ended with model_timeout" in content["error"]["message"]
    await team.at_rest()
    [letter] = await team.letters()
    assert (letter.headers or {})[dead_letters.ATTEMPTS] == "1"


async def test_an_answer_that_was_cut_off_is_marked(team: Team) -> None:
    await team.run(me=SCRIPT.format(turn="{text: The answ, finish: length}"))
    content = await team.ask("analysis", "hello")
    assert (content["success"], content["data"]) == (True, "The answ")
    assert (content["finishReason"], content["cut"]) == ("length", "context")
    assert team.runtime.agents["me"].stats.cut == 1


async def test_an_error_that_stays_is_told_at_once(team: Team) -> None:
    await team.run(me=REJECTED)
    content = await team.ask("analysis", "hello", id="t1")
    assert content["error"]["code"] == "model_rejected"
    await team.at_rest()
    assert await team.letters() == []
    assert await events_of(team, "t1") == []


async def test_a_mended_model_answers_the_next_attempt(team: Team) -> None:
    await team.run(me=OVERLOADED.replace("10ms", "2s"))
    asking = asyncio.create_task(team.ask("analysis", "hello", id="t1"))
    async with asyncio.timeout(10):
        while not await events_of(team, "t1"):  # noqa: ASYNC110 (the log cannot be awaited)
            await asyncio.sleep(0.02)
    await team.run(me=FINE)
    assert (await asking)["success"]


async def test_what_is_no_message_is_buried_and_its_sender_told(team: Team) -> None:
    await team.run(me=FINE)
    subject = team.subjects.task("analysis", "x")
    for data in (b"not json", b'{"id": "mine", "payload": {}}', b"\xff\x00"):
        await team.send(subject, data)
    told = await team.result(team.subjects.result("analysis", "x", "mine"))
    assert told.payload.content["error"]["code"] == "malformed"
    assert "payload.content" in told.payload.content["error"]["message"]
    await team.at_rest()
    buried = await team.letters()
    assert {letter.data for letter in buried} == {
        b"not json",
        b'{"id": "mine", "payload": {}}',
        b"\xff\x00",
    }
    assert {(letter.headers or {})[dead_letters.REASON] for letter in buried} == {"malformed"}
    assert (await team.ask("analysis", "still there?"))["success"]


async def test_an_expired_task_never_reaches_the_model(team: Team) -> None:
    await team.run(me=OVERLOADED)
    content = await team.ask("analysis", "late", timestamp=1.0, routing={"timeout": 10})
    assert content["error"]["code"] == "expired"
    await team.at_rest()
    [letter] = await team.letters()
    assert (letter.headers or {})[dead_letters.REASON] == "expired"
    assert (letter.headers or {})[dead_letters.ATTEMPTS] == "1"


async def test_a_task_for_another_agent_is_forwarded_to_it(team: Team) -> None:
    await team.run(me=FINE, other="capabilities: [research]\n")
    await team.send(
        team.subjects.task("analysis", "x"),
        {"id": "t1", "target": "other", "payload": {"content": "hello"}},
    )
    result = await team.result(team.subjects.result("_agent", "other", "t1"))
    assert result.source.id == "other"
    await team.at_rest()


async def test_the_same_task_sent_twice_is_answered_once(team: Team) -> None:
    await team.run(me=FINE)
    first = await team.ask("analysis", "hello", id="same")
    await team.send(
        team.subjects.task("analysis", "x"), {"id": "same", "payload": {"content": "again"}}
    )
    await team.at_rest()
    results = jetstream.stored(team.bus, LOG, team.subjects.result("analysis", "x", "same"))
    [only] = [json.loads(msg.data)["payload"]["content"] async for msg in results]
    assert only == first


async def test_a_copy_goes_to_reply_to(team: Team) -> None:
    await team.run(me=FINE)
    inbox = team.bus.new_inbox()
    copies: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(msg: object) -> None:
        await copies.put(getattr(msg, "data", b""))

    await team.bus.subscribe(inbox, take)
    await team.bus.fence()
    content = await team.ask("analysis", "hello", replyTo=inbox)
    copy = json.loads(await asyncio.wait_for(copies.get(), 5))
    assert copy["payload"]["content"] == content


async def test_a_drain_hands_back_without_counting_an_attempt(team: Team) -> None:
    await team.run(me=SLOW)
    await team.send(
        team.subjects.task("analysis", "x"), {"id": "t1", "payload": {"content": "hello"}}
    )
    agent = team.runtime.agents["me"]
    async with asyncio.timeout(5):
        while not agent.in_flight:  # noqa: ASYNC110 (a number cannot be awaited)
            await asyncio.sleep(0.01)
    await team.runtime.drain(0.1)
    assert await events_of(team, "t1") == ["handed_back"]


async def test_a_sender_chooses_among_the_models_of_the_manifest(team: Team) -> None:
    script = "{name: mock/script, script: [other]}"
    await team.run(me=f"capabilities: [analysis]\nmodel: [mock/echo, {script}]\n")
    chosen = await team.ask("analysis", "hi", payload={"content": "hi", "model": "mock/script"})
    assert (chosen["data"], chosen["model"]) == ("other", "mock/script")
    refused = await team.ask("analysis", "hi", payload={"content": "hi", "model": "gpt-99"})
    assert refused["error"]["code"] == "model_not_allowed"


async def test_a_letter_sent_again_gives_exactly_one_result(team: Team) -> None:
    await team.run(me=OVERLOADED)
    failed = await team.ask("analysis", "hello", id="t1")
    assert not failed["success"]
    await team.at_rest()
    [letter] = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    assert (letter.task_id, letter.reason, letter.attempts) == ("t1", "exhausted", 3)
    await team.run(me=FINE)
    await dead_letters.send_again(team.bus, team.subjects, letter)
    subject = team.subjects.result("analysis", "x", "t1")
    assert (await team.result(subject)).payload.content["success"]
    await team.at_rest()
    assert [each async for each in dead_letters.listed(team.bus, team.subjects)] == []
    results = [msg async for msg in jetstream.stored(team.bus, LOG, subject)]
    assert len(results) == 1
    with pytest.raises(UsageError, match="has been answered"):
        await dead_letters.send_again(team.bus, team.subjects, letter)


async def test_an_expired_letter_gets_its_time_anew(team: Team) -> None:
    await team.run(me=FINE)
    await team.send(
        team.subjects.task("analysis", "x"),
        b'{"timestamp": 1, "routing": {"timeout": 60000}, "payload": {"content": "late"}}',
    )
    await team.at_rest()
    [letter] = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    assert letter.reason == "expired"
    await dead_letters.send_again(team.bus, team.subjects, letter)
    result = await team.result(team.subjects.result("analysis", "x", letter.task_id))
    await team.at_rest()
    result = await team.result(team.subjects.result("analysis", "x", letter.task_id))
    assert result.payload.content["success"]


async def test_a_query_is_answered_on_its_reply_subject(team: Team) -> None:
    await team.run(me=FINE, other=FINE)
    subject = team.subjects.query("analysis", "x")
    answer = await team.bus.request(subject, b'{"payload": {"content": "quick"}}')
    content = json.loads(answer.data)["payload"]["content"]
    assert content["success"]
    assert "quick" in content["data"]
    garbage = await team.bus.request(subject, b"{")
    assert json.loads(garbage.data)["payload"]["content"]["error"]["code"] == "malformed"


async def test_a_sender_may_shape_the_answer_and_no_more(team: Team) -> None:
    await team.run(me=FINE)
    fine = await team.ask("analysis", "x", payload={"content": "x", "parameters": {"seed": 1}})
    assert fine["success"]
    refused = await team.ask("analysis", "x", payload={"content": "x", "parameters": {"aws": 1}})
    assert refused["error"]["code"] == "parameter_not_allowed"


async def test_a_subject_that_no_result_can_have_stops_nobody(team: Team) -> None:
    await team.run(me=FINE)
    foreign = f"agents.{team.subjects.env}.task.analysis.a$b"
    await team.send(foreign, {"payload": {"content": "hello"}})
    assert (await team.ask("analysis", "hello"))["success"]
    await team.at_rest()
    assert team.runtime.agents["me"].restarts == 0


async def test_a_retry_keeps_the_first_result_and_names_who_asked_for_it(team: Team) -> None:
    await team.run(me=OVERLOADED)
    first = await team.ask("analysis", "hello", id="t1")
    await team.at_rest()
    [letter] = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    await team.run(me=FINE)
    by = Actor("cli", "maria")
    await dead_letters.send_again(team.bus, team.subjects, letter, by=by)
    result = await team.result(team.subjects.result("analysis", "x", "t1"))

    assert result.payload.content["success"]
    retried = team.subjects.event("dlq", "retried")
    [note] = [msg async for msg in jetstream.stored(team.bus, LOG, retried)]
    content = json.loads(note.data)["payload"]["content"]
    assert content["by"] == {"kind": "cli", "name": "maria"}
    [kept] = content["results"]
    assert kept["message"]["payload"]["content"] == first
    # The last call of the model in the first life is in a header of its result.
    assert json.loads(kept["headers"][CALLS])["call"]["error"]["code"] == "model_overloaded"
    assert [kept["sequence"], letter.sequence] == [
        number for first, last in content["erased"] for number in range(first, last + 1)
    ]
