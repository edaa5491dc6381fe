"""What was sent to the models of real agents is on record with the outcome, on a real server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentd.nats import jetstream
from agentd.nats.streams import LOG
from agentd.protocol.message import decode
from agentd.queue.journal import CALLS, MODEL_CALLED
from agentd.record.calls import calls_of, in_result

if TYPE_CHECKING:
    from tests.integration.conftest import Team

PLAIN = "capabilities: [work]\n"
FAILING = """
capabilities: [work]
model: {name: mock/script, script: [{error: {status: 503, message: busy}}]}
retry: {attempts: 2, backoff: 10ms}
"""


async def result_headers(team: Team, task: str) -> Mapping[str, str]:
    msg = await jetstream.last(team.bus, LOG, team.subjects.result("work", "x", task))
    return (msg and msg.headers) or {}


async def entries(team: Team, task: str) -> list[Mapping[str, Any]]:
    found = jetstream.stored(team.bus, LOG, team.subjects.event("run", task))
    return [decode(msg.data).payload.content async for msg in found]


async def test_the_call_of_an_answer_is_in_a_header_of_its_result(team: Team) -> None:
    await team.run(worker=PLAIN + "instructions: Hi {{ content }}, ünd so.\n")
    await team.ask("work", "héllo", id="t1")

    assert await entries(team, "t1") == []
    [call] = calls_of([in_result(await result_headers(team, "t1"))], "héllo")
    assert list(call.messages) == [
        {"role": "system", "content": "Hi héllo, ünd so."},
        {"role": "user", "content": "héllo"},
    ]
    assert call.details["model"] == "mock/echo"
    assert call.details["usage"]["inputTokens"] > 0


async def test_a_copy_for_the_sender_has_no_prompt(team: Team) -> None:
    await team.run(worker=PLAIN)
    copies: list[Mapping[str, str] | None] = []

    async def on_copy(msg: Any) -> None:
        copies.append(msg.headers)

    inbox = f"copies.{team.subjects.env}"
    await team.bus.subscribe(inbox, on_copy)
    await team.ask("work", "hello", id="t1", replyTo=inbox)
    await team.bus.fence()

    assert CALLS in await result_headers(team, "t1")
    assert [CALLS in (headers or {}) for headers in copies] == [False]


async def test_a_large_prompt_is_an_event_beside_the_result(team: Team) -> None:
    await team.run(worker=PLAIN + f"instructions: {'long ' * 5000}{{{{ content }}}}\n")
    await team.ask("work", "hello", id="t1")

    assert CALLS not in await result_headers(team, "t1")
    [entry] = await entries(team, "t1")
    assert (entry["event"], entry["task"], entry["turn"]) == (MODEL_CALLED, "t1", 1)
    [call] = calls_of([entry], "hello")
    assert call.messages[0]["content"] == f"{'long ' * 5000}hello"


async def test_a_failed_attempt_and_a_failed_task_name_their_calls(team: Team) -> None:
    await team.run(worker=FAILING)
    await team.ask("work", "hello", id="t1")

    [failed] = await entries(team, "t1")
    last = in_result(await result_headers(team, "t1"))
    found = calls_of([failed, last], "hello")
    assert [call.details["error"]["code"] for call in found] == ["model_overloaded"] * 2
    assert [call.messages[1]["content"] for call in found] == ["hello", "hello"]
    assert (failed["delivery"], last["delivery"]) == (1, 2)


async def test_the_manifest_decides_what_goes_on_record(team: Team) -> None:
    await team.run(worker=PLAIN + "record: digests\n")
    await team.ask("work", "hello", id="t1")
    await team.run(worker=PLAIN + "record: off\n")
    await team.ask("work", "hello", id="t2")

    recorded = json.loads((await result_headers(team, "t1"))[CALLS])["call"]
    # The content of the task is in the log already.
    assert [sorted(each) for each in recorded["messages"]] == [["digest", "role"], ["role", "task"]]
    assert "Hi." not in json.dumps(recorded)
    assert CALLS not in await result_headers(team, "t2")
    assert await entries(team, "t2") == []
