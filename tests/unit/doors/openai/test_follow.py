"""What a client is given of a task while it runs, and at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentd.doors.openai import follow
from agentd.doors.openai.chat_response import END, Chunks
from agentd.protocol.message import AgentIdentity, new
from agentd.routing.stream import StreamEvent


def delta(text: str, turn: int = 1) -> StreamEvent:
    return StreamEvent("delta", text=text, turn=turn)


def result(data: Any, **content: Any) -> StreamEvent:
    fields = {"success": True, "data": data, **content}
    return StreamEvent("result", message=new("result", fields, source=AgentIdentity(id="a")))


FAILED = result(None, success=False, error={"code": "client_tools", "message": "no tools"})
RESTART, IDLE = StreamEvent("restart"), StreamEvent("idle")


async def happening(*events: StreamEvent) -> AsyncIterator[StreamEvent]:
    for event in events:
        yield event


async def written(*events: StreamEvent, whole: bool = False) -> str:
    """What a client receives: the text, and `!` for an error."""
    chunks = Chunks("t1", "m", usage=False)
    sent = [each async for each in follow.written("t1", happening(*events), chunks, whole=whole)]
    assert sent[-1] == END
    return b"".join(sent).decode()


async def test_nobody_waits_longer_than_clients_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LONGEST", 0.0)
    waiting = StreamEvent("delay", text="the model is away")
    assert "the model is away; task t1 goes on" in await written(waiting, result("Hi"))


async def test_a_task_that_fails_at_once_is_known_before_the_stream_begins() -> None:
    approval = StreamEvent("waiting")
    assert await follow.first("t1", happening(approval, FAILED, IDLE)) == FAILED
    events = follow.behind(IDLE, happening(delta("x")))
    assert [event.kind async for event in events] == ["idle", "delta"]


async def test_a_stream_has_the_pieces_and_the_rest() -> None:
    text = await written(
        delta("One "), IDLE, RESTART, delta("One "), delta("two"), result("One two")
    )
    assert [piece in text for piece in ('"One "', '"two"')] == [True, True]
    assert text.count("One") == 1
    assert ": the task is not done yet" in text


async def test_a_value_is_written_at_once() -> None:
    text = await written(delta("Hm"), RESTART, delta("{}", 2), result({"a": 1}), whole=True)
    assert "Hm" not in text
    assert r"{\"a\": 1}" in text


@pytest.mark.parametrize("end", [FAILED, result("Two")])
async def test_a_stream_says_that_it_failed(end: StreamEvent) -> None:
    assert '"error"' in await written(delta("One"), end)
