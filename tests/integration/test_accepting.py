"""A task is accepted once, and its id alone tells how far it has come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentd.errors import SubjectError, TaskError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import (
    AgentIdentity,
    AgentMessage,
    Context,
    encode,
    new,
    new_id,
)
from agentd.protocol.server_subjects import direct_get
from agentd.protocol.subjects import Subjects
from agentd.routing import stream
from agentd.routing.accept import accept, find, task_id
from agentd.routing.status import TaskStatus, status
from tests.integration.conftest import Team
from tests.waiting import PATIENCE

ECHO = "description: Echo.\ncapabilities: [echoing]\nmodel: mock/echo\n"
OTHER = "description: Other.\ncapabilities: [others]\nmodel: mock/echo\n"
ECHOING = Destination("echoing", "general")


def task(content: Any = "hi", **links: Any) -> AgentMessage:
    context = Context(conversation_id="c")
    return new("task", content, source=AgentIdentity(id="ci"), context=context, **links)


async def waited(bus: Bus, subjects: Subjects, name: str, state: str) -> TaskStatus:
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await status(bus, subjects, name)
            if found and found.state == state:
                return found
            await asyncio.sleep(0.02)


async def test_a_task_is_accepted_and_done(team: Team) -> None:
    await team.run(echo=ECHO)
    message = task()
    accepted = await accept(team.bus, team.subjects, ECHOING, message, by="ci")
    assert (accepted.task, accepted.by, accepted.to) == (message.id, "ci", "echoing.general")
    assert not accepted.repeated
    done = await waited(team.bus, team.subjects, message.id, "done")
    assert done.attempts == 1
    assert done.result
    assert done.result.payload.content["success"]
    assert done.acceptance
    assert done.acceptance.by == "ci"


async def test_a_key_is_one_task_for_a_caller(team: Team) -> None:
    await team.run(echo=ECHO)
    bus, subjects = team.bus, team.subjects
    name = task_id("ci", "order 7")
    assert name != task_id("other", "order 7")
    many = [accept(bus, subjects, ECHOING, task(id=name), by="ci") for _ in range(20)]
    accepted = await asyncio.gather(*many)
    assert sorted(each.repeated for each in accepted) == [False] + [True] * 19
    tasks = [msg async for msg in jetstream.stored(bus, LOG, subjects.pattern("task.>"))]
    assert len(tasks) == 1

    other = accept(bus, subjects, ECHOING, task("something else", id=name), by="ci")
    with pytest.raises(TaskError, match="accepted before") as refused:
        await other
    assert refused.value.code == "idempotency_conflict"
    elsewhere = accept(bus, subjects, Destination.parse("@echo"), task(id=name), by="ci")
    with pytest.raises(TaskError, match="accepted before"):
        await elsewhere
    with pytest.raises(TaskError, match="another caller"):
        await accept(bus, subjects, ECHOING, task(id=name), by="someone")


async def test_an_entry_without_its_task_gets_it(team: Team) -> None:
    """The process died between the two."""
    await team.run(echo=ECHO)
    bus, subjects, message = team.bus, team.subjects, task(id=task_id("ci", "order 8"))
    accepted = await accept(bus, subjects, ECHOING, task(id=task_id("ci", "order 9")), by="ci")
    await waited(bus, subjects, accepted.task, "done")
    entry = (await jetstream.newest(bus, LOG, subjects.event("run", accepted.task)))[1]
    orphan = entry.replace(accepted.task.encode(), message.id.encode())
    orphan = orphan.replace(accepted.mark.encode(), new_id().encode())
    await bus.request(subjects.event("run", message.id), orphan)
    assert await status(bus, subjects, message.id) is None

    again = await accept(bus, subjects, ECHOING, message, by="ci")
    assert again.repeated
    await waited(bus, subjects, message.id, "done")
    await accept(bus, subjects, ECHOING, message, by="ci")
    tasks = [msg async for msg in jetstream.stored(bus, LOG, subjects.pattern("task.>"))]
    assert len(tasks) == 2


async def test_without_its_note_a_task_is_found_in_the_log(team: Team) -> None:
    await team.run(echo=ECHO)
    bus, subjects, message = team.bus, team.subjects, task(id=task_id("ci", "order 7"))
    await accept(bus, subjects, ECHOING, message, by="ci")
    await bus.publish(subjects.accepted(message.id), b"junk")
    await bus.fence()
    assert (await accept(bus, subjects, ECHOING, message, by="ci")).repeated
    tasks = [msg async for msg in jetstream.stored(bus, LOG, subjects.pattern("task.>"))]
    assert len(tasks) == 1


async def test_what_was_accepted_stays_so_when_its_agent_is_gone(team: Team) -> None:
    await team.run(echo=ECHO)
    message = task()
    await accept(team.bus, team.subjects, ECHOING, message, by="ci")
    await waited(team.bus, team.subjects, message.id, "done")
    await team.runtime.drain(5)
    again = await accept(team.bus, team.subjects, ECHOING, message, by="ci")
    assert again.repeated
    with pytest.raises(TaskError, match="no agent online") as refused:
        await accept(team.bus, team.subjects, ECHOING, task(), by="ci")
    assert refused.value.code == "no_taker"


async def test_a_task_in_a_queue_is_queued_and_then_runs(team: Team) -> None:
    slow = "description: Slow.\ncapabilities: [slow]\nlimits: {concurrency: 1}\n"
    model = "model: {name: mock/script, script: [{text: one, latency: 500ms}, {text: two}]}\n"
    await team.run(slow=slow + model)
    to = Destination.parse("slow")
    first, second = task("1"), task("2")
    for message in (first, second):
        await accept(team.bus, team.subjects, to, message, by="ci")
    await waited(team.bus, team.subjects, first.id, "running")
    queued = await status(team.bus, team.subjects, second.id)
    assert queued
    assert (queued.state, queued.attempts) == ("queued", 0)
    assert (await waited(team.bus, team.subjects, second.id, "done")).attempts == 1


async def test_a_task_that_was_sent_over_nats_is_found(bus: Bus, subjects: Subjects) -> None:
    message = task()
    await jetstream.store(bus, subjects.task("x", "y"), encode(message), message_id=message.id)
    found = await waited(bus, subjects, message.id, "queued")
    assert found.acceptance is None


async def test_an_unknown_task_is_unknown(bus: Bus, subjects: Subjects) -> None:
    assert await status(bus, subjects, new_id()) is None
    with pytest.raises(SubjectError):
        await status(bus, subjects, "a.b")


async def test_entries_of_strangers_are_not_believed(bus: Bus, subjects: Subjects) -> None:
    name = new_id()
    for data in (b"junk", b'{"payload": {"content": {"event": "accepted", "task": 1}}}'):
        await bus.request(subjects.event("run", name), data)
    assert await find(bus, subjects, name) is None


async def forged(team: Team, name: str, domain: str) -> None:
    """Another client has a task of the same id answered."""
    await team.send(team.subjects.task(domain, "x"), {"id": name, "payload": {"content": "no"}})
    await team.result(team.subjects.result(domain, "x", name))


async def test_a_task_over_nats_keeps_its_result(team: Team) -> None:
    await team.run(echo=ECHO, other=OTHER)
    name = new_id()
    message = {"id": name, "payload": {"content": "hi"}}
    await team.send(team.subjects.task("echoing", "y"), message)
    await team.result(team.subjects.result("echoing", "y", name))
    await forged(team, name, "others")
    found = await status(team.bus, team.subjects, name)
    assert found
    assert found.result
    assert found.result.source.id == "echo"


async def test_a_task_that_waits_is_not_done_by_another_one(team: Team) -> None:
    await team.run(other=OTHER)
    name = new_id()
    message = {"id": name, "payload": {"content": "hi"}}
    await team.send(team.subjects.task("echoing", "y"), message)
    await forged(team, name, "others")
    found = await status(team.bus, team.subjects, name)
    assert found
    assert (found.state, found.result) == ("queued", None)
    reading = stream.events(team.bus, team.subjects, name, idle=0.2)
    while (event := await anext(reading)).kind != "idle":
        assert event.kind != "result"
    await team.run(echo=ECHO)
    [*_, end] = [event async for event in reading]
    assert end.message
    assert end.message.source.id == "echo"


async def test_a_task_that_is_forwarded_keeps_its_result(team: Team) -> None:
    await team.run(one="capabilities: [a]\nmodel: mock/echo\n", other=OTHER)
    await team.run(both="capabilities: [a, b]\nmodel: mock/echo\n")
    for _ in range(4):  # by chance the agent that may run it pulls it
        name = new_id()
        message = {
            "id": name,
            "payload": {"content": "hi"},
            "routing": {"capabilities": ["b"], "exclusions": ["one"]},
        }
        await team.send(team.subjects.task("a", "x"), message)
        done = await waited(team.bus, team.subjects, name, "done")
        await forged(team, name, "others")
        again = await status(team.bus, team.subjects, name)
        for found in (done, again):
            assert found
            assert found.result
            assert found.result.source.id == "both"


async def test_a_task_that_was_emitted_keeps_its_result(team: Team) -> None:
    """Its subject is that of an agent, and its result is under its topic."""
    first = "capabilities: [begin]\nmodel: mock/echo\nemit: [{task: echoing.y, target: echo}]\n"
    await team.run(first=first, echo=ECHO, other=OTHER)
    await team.ask("begin", "hi")
    result = await team.result(team.subjects.pattern("result.echoing.y.*"))
    name = result.context.parent_message_id or ""
    await forged(team, name, "others")
    found = await status(team.bus, team.subjects, name)
    assert found
    assert found.result
    assert found.result.source.id == "echo"


async def test_those_who_ask_for_unknown_tasks_share_their_search(
    bus: Bus, subjects: Subjects
) -> None:
    await jetstream.store(bus, subjects.task("x", "y"), encode(task()), message_id=new_id())
    searches = 0

    def count(msg: Msg) -> None:
        nonlocal searches
        searches += subjects.pattern("task.>").encode() in msg.data

    listening = await bus.listen(direct_get(LOG), count)
    await bus.fence()
    found = await asyncio.gather(*(status(bus, subjects, new_id()) for _ in range(40)))
    await bus.fence()
    await listening.close()
    assert set(found) == {None}
    assert 0 < searches < 20
