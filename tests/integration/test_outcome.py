"""The outcome of a task on a real server that has no room for it, or no log."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.agent.outcome import Outcome, store
from agentd.errors import BusError, Conflict
from agentd.models.port import Completion
from agentd.nats import jetstream, streams
from agentd.nats.bus import Bus
from agentd.nats.server import VARIABLE, EmbeddedServer, find_binary
from agentd.nats.streams import LOG
from agentd.protocol.message import AgentIdentity, new
from agentd.protocol.subjects import Subjects
from agentd.run.loop import RunResult
from agentd.settings import Settings

SETTINGS = Settings(log_bytes=0)
SUBJECTS = Subjects("t")
RESULT = SUBJECTS.result("a", "b", "c")
JUNK = "JUNK"  # a stream and its subject: nobody may purge the log
WRAPPER = """\
#!/bin/sh
for file; do test -f "$file" && sed -i 's/max_file_store: .*/max_file_store: 16MB/' "$file"; done
exec {binary} "$@"
"""


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """A server of 16 MB."""
    script = tmp_path / "nats-server"
    script.write_text(WRAPPER.format(binary=find_binary()))
    script.chmod(0o700)
    environ = {**os.environ, VARIABLE: str(script)}
    embedded = EmbeddedServer(tmp_path / ".agentd", "relaxed", environ)
    server = await embedded.ensure()
    bus = await Bus.connect({"servers": server.url, "token": server.token}, timeout=5)
    await streams.ensure(bus, SETTINGS)
    yield bus
    await bus.close()
    await embedded.stop()


async def fill(bus: Bus) -> None:
    config = {"name": JUNK, "subjects": [JUNK], "storage": "file", "retention": "limits"}
    await jetstream.api(bus, f"STREAM.CREATE.{JUNK}", {**config, "num_replicas": 1})
    with contextlib.suppress(BusError):
        for number in range(1000):
            data = bytes(512 * 1024)
            await jetstream.store(bus, JUNK, data, message_id=f"{number}", patience=0)


async def make_room(bus: Bus) -> None:
    await jetstream.api(bus, f"STREAM.DELETE.{JUNK}")


def committing(bus: Bus, text: str = "An answer.") -> asyncio.Task[None]:
    completion = Completion(text=text, model="mock/echo", finish_reason="stop")
    result = RunResult(data=text, completion=completion)
    outcome = Outcome(revision="1", model="mock/echo", latency=1, result=result)
    source = AgentIdentity(id="agent", type="agent")
    task = new("task", "please", source=source, id="c")
    return asyncio.create_task(store(bus, RESULT, outcome, task=task, source=source, headers={}))


async def refused(job: asyncio.Task[None]) -> None:
    """Longer than a first try takes."""
    await asyncio.wait([job], timeout=1)
    assert not job.done()


async def test_an_answer_waits_for_room(bus: Bus) -> None:
    await fill(bus)
    job = committing(bus)
    await refused(job)
    await make_room(bus)
    await asyncio.wait_for(job, 10)
    assert await jetstream.last(bus, LOG, RESULT) is not None


async def test_a_large_answer_waits_for_room_too(bus: Bus) -> None:
    await fill(bus)
    job = committing(bus, "x" * bus.max_message)
    await refused(job)
    await make_room(bus)
    await asyncio.wait_for(job, 10)
    assert await jetstream.last(bus, LOG, RESULT) is not None


async def test_whoever_ends_waits_no_longer(bus: Bus) -> None:
    await fill(bus)
    job = committing(bus)
    await refused(job)
    job.cancel()
    await asyncio.wait([job], timeout=10)
    assert job.cancelled()


async def test_an_answer_waits_for_a_log(bus: Bus) -> None:
    await jetstream.api(bus, f"STREAM.DELETE.{LOG}")
    job = committing(bus)
    await refused(job)
    await streams.heal(bus, SETTINGS)
    await asyncio.wait_for(job, 10)
    with pytest.raises(Conflict):
        await committing(bus)
