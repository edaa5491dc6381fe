"""`agentd dlq`: dead letters are listed, shown, sent again and dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial

import pytest
from outside import Done, Project, eventually

from agentd.nats import records
from agentd.testing.stub_model import Behaviour, StubModel

Typed = Callable[..., Done]


async def test_a_dead_letter_is_listed_shown_and_dropped(guest: Project, typed: Typed) -> None:
    async def dlq(*line: str) -> Done:
        return await asyncio.to_thread(typed, guest, "dlq", *line)

    guest.agent("analyst")
    guest.up().ready()
    assert (await dlq("ls")).out == f"no dead letters in {guest.environ['AGENTD_ENV']!r}\n"
    async with guest.wire() as wire:
        await wire.publish("task.analyst.garbage", b'{"id": "t1", "payload": {}}')
        await eventually(lambda: wire.count("dlq.analyst.garbage"), "the dead letter")

        [letter] = json.loads((await dlq("ls", "--json")).out)
        assert (letter["task"], letter["reason"], letter["attempts"]) == ("t1", "malformed", 1)
        assert letter["message"] == '{"id": "t1", "payload": {}}'
        number = str(letter["letter"])
        head, row = (await dlq("ls")).out.splitlines()
        assert head.split()[:4] == ["LETTER", "TASK", "TIME", "REASON"]
        assert row.startswith(number)
        assert row.split()[1:6:4] == ["t1", "analyst.garbage"]
        assert " payload.content: " in row
        assert (await dlq()).out.splitlines() == [head, row]
        shown = (await dlq("show", number)).out
        assert (await dlq("show", "t")).out == shown
        assert "reason     malformed\n" in shown
        assert 'message    {"id": "t1", "payload": {}}\n' in shown

        dropped = await dlq("drop", "--all")
        assert dropped.out == f"letter {number} (task t1) dropped\n"
        assert await wire.count("dlq.analyst.garbage") == 0
        [record] = await wire.recorded("event.dlq.dropped", at_least=1)
        assert record.content["erased"] == [[int(number), int(number)]]
        assert (await dlq("show", number)).err.startswith(
            f"agentd: there is no dead letter {number}"
        )


async def test_of_too_many_the_newest_are_listed(
    guest: Project, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.agent("analyst")
    guest.up().ready()
    async with guest.wire() as wire:
        for number in range(3):
            await wire.publish("task.analyst.x", b'{"id": "t%d", "payload": {}}' % number)
        await eventually(lambda: wire.recorded("dlq.analyst.x", at_least=3))
    monkeypatch.setattr(records, "shortlist", partial(records.shortlist, records=2))

    done = await asyncio.to_thread(typed, guest, "dlq", "--json")

    tasks = [each["task"] for each in json.loads(done.out)]
    assert (tasks, done.err) == (["t1", "t2"], "1 older dead letters are not listed\n")


async def test_all_are_sent_again_although_some_cannot_be(guest: Project, typed: Typed) -> None:
    guest.agent("analyst")
    guest.up().ready()
    async with guest.wire() as wire:

        async def until_stored(topic: str, number: int) -> None:
            async def are() -> bool:
                return await wire.count(topic) == number

            await eventually(are, topic)

        for number in range(3):
            await wire.publish("task.analyst.x", b'{"id": "t%d", "payload": {}}' % number)
        await until_stored("dlq.analyst.x", 3)
        # Somebody else has answered the one in the middle.
        success = {"payload": {"content": {"success": True, "data": "hi"}}}
        await wire.publish("result.analyst.x.t1", json.dumps(success).encode())
        await until_stored("result.analyst.x.t1", 2)

        done = await asyncio.to_thread(typed, guest, "dlq", "retry", "--all")

        assert done.code == 1
        said = [line.partition("(task ")[2] for line in done.out.splitlines()]
        assert said == ["t0) sent again", "t2) sent again"]
        assert len(done.err.splitlines()) == 2, done.err
        refused, summary = done.err.splitlines()
        assert "(task t1) not sent again: task t1 has been answered; drop" in refused
        assert summary == "1 of 3 dead letters were not sent again"


async def test_a_dead_letter_that_is_sent_again_gets_its_result(
    guest: Project, typed: Typed
) -> None:
    async with StubModel(Behaviour(fault="500")).serve() as stub, guest.wire() as wire:
        model = f"model: {{name: openai/stub, api_base: '{stub.url}', api_key: none}}"
        guest.agent("analyst", model, "retry: {attempts: 1}")
        guest.up().ready()
        await wire.task("analyst", "t1")
        failed = await wire.result("t1")
        assert failed.content["error"]["code"] == "exhausted"

        stub.behaviour = Behaviour()
        sent = await asyncio.to_thread(typed, guest, "dlq", "retry", "--all")

        assert (sent.code, sent.out.endswith(" (task t1) sent again\n")) == (0, True)
        await eventually(lambda: wire.count("result.analyst.general.t1"), "its result")
        assert (await wire.result("t1")).content["success"]
        assert await wire.count("dlq.analyst.general") == 0


@pytest.mark.parametrize("line", ["retry", "drop", "retry 1 --all"])
def test_the_command_needs_numbers_or_all(guest: Project, typed: Typed, line: str) -> None:
    done = typed(guest, "dlq", *line.split())

    assert (done.code, done.out) == (2, "")
    assert "give the numbers of dead letters, or --all" in done.err
