"""Agents on a server that takes less in one message than usual: 64 kB."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentd.nats.bus import Bus
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, new
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
