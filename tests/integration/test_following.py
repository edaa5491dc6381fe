"""Following a task on the real server: the order of its parts, and an end whose message is lost."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from agentd.nats.bus import Bus
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, encode, new, new_id
from agentd.routing.ask import Delta
from agentd.routing.follow import FollowedMessage, follow
from tests.waiting import until

if TYPE_CHECKING:
    import pytest

    from agentd.nats.bus import Msg
    from tests.integration.conftest import Team

SCRIPT = "model: {{name: mock/script, script: [{{text: {}, chunks: 4, interval: 30ms}}]}}\n"
NEVER = "model: {name: mock/script, script: [{text: late, latency: 60s}]}\n"
CHAIN = {
    "first": "capabilities: [first]\nstream: false\nemit: [{task: second.draft}]\n",
    "second": "capabilities: [second]\nemit: [{task: third.draft}]\n"
    + SCRIPT.format("one two three four"),
    "third": "capabilities: [third]\nemit: [{event: all.done}]\n" + SCRIPT.format("five six"),
}


ASKER = AgentIdentity(id="asker")


def question(conversation: str = "") -> AgentMessage:
    context = Context(conversation_id=conversation or new_id())
    return new("task", "Go.", source=ASKER, id=new_id(), context=context)


async def followed(team: Team, message: AgentMessage) -> list[Any]:
    to, until = Destination("first", "general"), "event.all.done"
    parts = follow(team.bus, team.subjects, to, message, until=until, timeout=20)
    return [part async for part in parts]


async def test_one_answer_streams_after_the_other(team: Team) -> None:
    await team.run(**CHAIN)

    parts = await followed(team, question())

    deltas = [part for part in parts if isinstance(part, Delta)]
    assert "".join(delta.text for delta in deltas) == "one two three fourfive six"
    [start] = [number for number, delta in enumerate(deltas) if delta.restarted]
    assert "".join(delta.text for delta in deltas[start:]) == "five six"
    steps = [part.topic for part in parts if isinstance(part, FollowedMessage)]
    assert steps == ["result.first.general", "result.second.draft", "result.third.draft"]
    assert parts[-1].payload.content == "five six"


async def test_parts_come_in_the_order_in_which_the_server_sent_them(
    team: Team, nats_url: str
) -> None:
    """They are published together, so the client could handle any of them first."""
    await team.run(first="capabilities: [first]\n" + NEVER)
    task = question()
    sender = await Bus.connect({"servers": nats_url}, timeout=5)

    async def publish_all() -> None:
        await until(lambda: team.runtime.agents["first"].in_flight == 1)
        for number in range(3):
            await publish(sender, team, f"event.step.s{number}", fact(task))
            for piece in range(4):
                await publish(sender, team, f"stream.response.r{number}", delta(task, piece))
            await publish(sender, team, f"result.step.s{number}.r{number}", fact(task))
        await publish(sender, team, "event.all.done", fact(task))

    publishing = asyncio.create_task(publish_all())
    parts = await followed(team, task)
    await publishing
    await sender.close()
    await team.runtime.drain(0)

    shown = ["-" if isinstance(part, Delta) else topic_of(part) for part in parts]
    steps = [[f"event.step.s{n}", *"----", f"result.step.s{n}"] for n in range(3)]
    assert shown == [*itertools.chain(*steps), "the end"]


def fact(task: AgentMessage) -> AgentMessage:
    source, content = AgentIdentity(id="a"), {"success": True, "data": "x"}
    return new("event", content, source=source, correlation_id=task.id, context=task.context)


def delta(task: AgentMessage, number: int) -> AgentMessage:
    return task.delta("x", number, turn=1, final=number == 3, source=AgentIdentity(id="a"))


async def publish(bus: Bus, team: Team, topic: str, message: AgentMessage) -> None:
    kind: Any = topic.partition(".")[0]
    data = encode(message.model_copy(update={"type": kind}))
    await bus.publish(f"agents.{team.subjects.env}.{topic}", data)


def topic_of(part: Any) -> str:
    return part.topic if isinstance(part, FollowedMessage) else "the end"


async def test_questions_of_one_conversation_are_kept_apart(team: Team) -> None:
    await team.run(**CHAIN)
    one, other = question("shared"), question("shared")

    ends = [parts[-1] for parts in await asyncio.gather(followed(team, one), followed(team, other))]

    assert [end.correlation_id for end in ends] == [one.id, other.id]


async def test_an_end_whose_message_was_lost_is_found_in_the_log(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.run(**CHAIN)
    subscribe = team.bus.subscribe

    async def subscribe_lossy(subject: str, handler: Any, queue: str = "") -> Any:
        async def handle(msg: Msg) -> None:
            if msg.subject != team.subjects.event("all", "done"):
                await handler(msg)

        return await subscribe(subject, handle, queue)

    monkeypatch.setattr(team.bus, "subscribe", subscribe_lossy)

    parts = await followed(team, question())

    assert parts[-1].payload.content == "five six"
    text = "".join(part.text for part in parts if isinstance(part, Delta))
    assert text == "one two three fourfive six"
