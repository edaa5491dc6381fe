"""Fixtures: a connection to the real server, and agents that run on it in this process."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from agentd.catalog.catalog import load
from agentd.metrics import Metrics
from agentd.models.choose import Models
from agentd.nats import jetstream, streams
from agentd.nats.bus import Bus, Msg
from agentd.problems import errors
from agentd.protocol.message import AgentMessage, decode, new_id
from agentd.protocol.subjects import Subjects
from agentd.runtime.runtime import Runtime
from agentd.settings import Settings
from agentd.tools.open import Opener, Tools
from tests.waiting import PATIENCE


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    connection = await Bus.connect({"servers": nats_url}, timeout=5)
    await streams.ensure(connection, Settings())
    yield connection
    await connection.close()


@pytest.fixture
def subjects(env: str) -> Subjects:
    return Subjects(env)


class Team:
    """Agents that run in this process on the real server, and methods to send them messages."""

    def __init__(self, bus: Bus, subjects: Subjects, folder: Path) -> None:
        self.bus = bus
        self.subjects = subjects
        self.folder = folder
        self.models = Models(environ={})
        self.metrics = Metrics()
        self.openers: dict[str, Opener] = {}
        self.runtime = Runtime(
            Settings(env=subjects.env, heartbeat=0.5),
            bus,
            models=self.models,
            tools=Tools(self.openers),
            metrics=self.metrics,
        )

    async def run(self, **manifests: str) -> None:
        """Applies a catalog of these manifests, by name; one without a prompt gets a short one.

        Manifests of earlier calls stay.
        """
        (self.folder / "manifests").mkdir(exist_ok=True)
        for name, text in manifests.items():
            prompted = any(field in text for field in ("prompt", "instructions", "\ncall:"))
            inline = "" if prompted else "instructions: Hi.\n"
            (self.folder / "manifests" / f"{name}.yaml").write_text(dedent(text) + inline)
        catalog = load(self.folder / "manifests")
        assert not errors(catalog.problems), "\n".join(p.render() for p in catalog.problems)
        await self.runtime.apply(catalog)

    async def send(self, subject: str, message: Mapping[str, Any] | bytes, **headers: str) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.bus.request(subject, data, headers=headers)

    async def result(self, subject: str, timeout: float = PATIENCE) -> AgentMessage:
        """Returns the result on this subject as soon as the log holds it."""
        async with asyncio.timeout(timeout):
            for delay in itertools.chain([0.01] * 50, itertools.repeat(0.1)):
                if msg := await jetstream.last(self.bus, streams.LOG, subject):
                    return decode(msg.data)
                await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def ask(self, domain: str, content: Any, **fields: Any) -> dict[str, Any]:
        """Sends a task and returns the content of its result."""
        message: dict[str, Any] = {"id": new_id(), "payload": {"content": content}, **fields}
        await self.send(self.subjects.task(domain, "x"), message)
        result = await self.result(self.subjects.result(domain, "x", message["id"]))
        return result.payload.content

    async def letters(self) -> list[Msg]:
        found = jetstream.stored(self.bus, streams.LOG, self.subjects.pattern("dlq.*.*"))
        return [msg async for msg in found]

    async def at_rest(self) -> None:
        """Returns once every task of the log has reached the work queue, and none is left there."""
        tasks = self.subjects.pattern("task.>")
        async with asyncio.timeout(PATIENCE):
            for delay in itertools.repeat(0.05):
                newest, _ = await jetstream.newest(self.bus, streams.LOG, tasks)
                filter_ = {"subjects_filter": f"work.{self.subjects.env}.>"}
                info = await jetstream.api(self.bus, f"STREAM.INFO.{streams.WORK}", filter_)
                # The server copies from the log after it has acknowledged a task: an empty queue
                # alone could be the moment before the copy.
                sourced = all(source.get("seq", 0) >= newest for source in info["sources"])
                if sourced and not info["state"].get("subjects"):
                    return
                await asyncio.sleep(delay)


@pytest.fixture
async def team(bus: Bus, subjects: Subjects, tmp_path: Path) -> AsyncIterator[Team]:
    team = Team(bus, subjects, tmp_path)
    await team.runtime.open()
    yield team
    await team.runtime.drain(5)
    await team.models.close()


@pytest.fixture
async def other(bus: Bus, subjects: Subjects, tmp_path: Path) -> AsyncIterator[Team]:
    """A second runtime with a separate folder; to NATS, it is another process."""
    (tmp_path / "other").mkdir()
    team = Team(bus, subjects, tmp_path / "other")
    await team.runtime.open()
    yield team
    await team.runtime.drain(5)
    await team.models.close()
