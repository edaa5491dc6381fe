"""Following a question: which deltas are shown, and an end that was missed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, new, new_id
from agentd.routing.ask import Delta
from agentd.routing.follow import FollowedMessage, follow

if TYPE_CHECKING:
    import pytest

    from agentd.nats.bus import Msg
    from tests.integration.conftest import Team

SCRIPT = "model: {{name: mock/script, script: [{{text: {}, chunks: 4, interval: 30ms}}]}}\n"
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


async def test_questions_of_one_conversation_are_kept_apart(team: Team) -> None:
    await team.run(**CHAIN)
    one, other = question("shared"), question("shared")

    ends = [parts[-1] for parts in await asyncio.gather(followed(team, one), followed(team, other))]

    assert [end.correlation_id for end in ends] == [one.id, other.id]


async def test_an_end_that_was_missed_is_found_on_record(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.run(**CHAIN)
    deaf = team.bus.subscribe

    async def subscribe(subject: str, handler: Any, queue: str = "") -> Any:
        missed = subject == team.subjects.pattern("event.>")
        return await deaf(subject, _nothing if missed else handler, queue)

    monkeypatch.setattr(team.bus, "subscribe", subscribe)

    assert (await followed(team, question()))[-1].payload.content == "five six"


async def _nothing(_: Msg) -> None:
    """A message that is lost."""
