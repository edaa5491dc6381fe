"""Agents on a server that takes less in one message than usual: 64 kB."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentd.nats.bus import Bus
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, new
from agentd.queue import dead_letters
from agentd.routing.ask import Delta, ask
from tests.integration.conftest import Team
from tests.nats_servers import JETSTREAM, connected, server
from tests.waiting import PATIENCE

LONG = "long answer " * 12_000  # 144 kB


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    config = f"max_payload: 64KB\n{JETSTREAM.format(folder=tmp_path)}"
    with server(tmp_path, config) as url:
        async with connected(url) as bus:
            yield bus


async def answer(team: Team, content: Any) -> tuple[str, dict[str, Any]]:
    """The deltas and the result of a task for `analysis`."""
    task = new("task", content, source=AgentIdentity(id="test"))
    streamed = ""
    to = Destination.parse("analysis")
    async for part in ask(team.bus, team.subjects, to, task, timeout=PATIENCE):
        if isinstance(part, Delta):
            streamed += part.text
        elif isinstance(part, AgentMessage):
            return streamed, part.payload.content
    raise AssertionError("no result")


async def test_a_long_question_and_a_long_answer_travel_in_pieces(
    team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    script = f"model: {{name: mock/script, script: ['{LONG}']}}\n"
    await team.run(me=f"capabilities: [analysis]\n{script}")

    streamed, result = await answer(team, "y" * 200_000)

    assert (streamed, result["data"]) == (LONG, LONG)
    assert "not published" not in caplog.text


async def test_an_answer_that_cannot_be_divided_ends_its_task(team: Team) -> None:
    """Readers find `reasoning` beside `data`, where it must fit into the message."""
    scripted = json.dumps({"reasoning": "x" * 100_000})
    output = "output: {schema: {properties: {reasoning: {type: string}}}}\n"
    script = f"model: {{name: mock/script, script: ['{scripted}']}}\n"
    await team.run(me=f"capabilities: [analysis]\n{output}{script}")

    _, result = await answer(team, "think")

    assert result["error"]["code"] == "answer_too_large"


REPEATED: dict[str, Any] = {
    "metadata": {"context": {"metadata": {"x": "y" * 64_000}}},
    "conversation": {"context": {"conversationId": "y" * 64_000}},
    "parent": {"context": {"parentMessageId": "y" * 64_000}},
    "correlation": {"correlationId": "y" * 64_000},
    "path": {"context": {"path": ["y" * 100] * 600}},
}


@pytest.mark.parametrize("place", REPEATED)
async def test_a_task_whose_context_leaves_no_room_is_refused_and_not_run(
    team: Team, place: str
) -> None:
    """Its result would repeat the context and not fit: it would be run, and paid, without end."""
    await team.run(me="capabilities: [analysis]\n")
    subject = team.subjects.task("analysis", "x")
    await team.send(subject, {"id": "t1", "payload": {"content": "hi"}, **REPEATED[place]})

    result = await team.result(team.subjects.result("analysis", "x", "t1"))

    assert result.payload.content["error"]["code"] == "malformed"
    assert "the limit on this server is 12,288" in result.payload.content["error"]["message"]
    await team.at_rest()
    [letter] = [each async for each in dead_letters.listed(team.bus, team.subjects)]
    assert letter.reason == "malformed"
    assert b"y" * 50 in await dead_letters.original(team.bus, letter)
    assert team.runtime.agents["me"].stats.spent.calls == 0


async def test_a_task_too_large_to_be_published_again_is_refused(team: Team) -> None:
    """To be forwarded, or suspended until an approval, it gets headers of ours."""
    await team.run(me="capabilities: [analysis]\n", you="capabilities: [other]\n")
    task = {"id": "t1", "target": "you", "payload": {"content": "y" * 65_440}}
    await team.send(team.subjects.task("analysis", "x"), task)

    result = await team.result(team.subjects.result("analysis", "x", "t1"))

    error = result.payload.content["error"]
    assert error["code"] == "malformed"
    assert "bytes with headers; the server takes 65,536" in error["message"]
    await team.at_rest()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"payload": {"content": "hi"}}, "answer_too_large"),
        ({"correlationId": "y" * 64_000, "payload": {"content": "hi"}}, "malformed"),
    ],
)
async def test_a_query_whose_answer_does_not_fit_is_answered(
    team: Team, query: dict[str, Any], code: str
) -> None:
    script = f"model: {{name: mock/script, script: ['{LONG}']}}\n"
    await team.run(me=f"capabilities: [analysis]\n{script}")
    subject = team.subjects.query("analysis", "x")

    answer = await team.bus.request(subject, json.dumps(query).encode(), timeout=PATIENCE)

    assert decode(answer.data).payload.content["error"]["code"] == code
