"""A store that is full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentd.errors import BusError
from agentd.nats import jetstream, streams
from agentd.nats.server import VARIABLE, find_binary
from agentd.settings import Settings
from agentd.testing.stub_model import Behaviour
from agentd.testing.torture.evidence import work_waiting
from agentd.testing.torture.harness import World
from agentd.testing.torture.scenario import Size

_ROOM = "8MB"
_JUNK, _PIECE = "JUNK", 64 * 1024
_WRAPPER = """\
#!/bin/sh
# Runs the real nats-server with a small store.
for file; do test -f "$file" && sed -i 's/max_file_store: .*/max_file_store: {room}/' "$file"; done
exec {binary} "$@"
"""


async def disk(world: World, size: Size) -> None:
    """A store of 8 MB is full: no accepted task is lost, work resumes 5 s after there is room."""
    await streams.ensure(world.bus, replace(Settings(), log_bytes=0))
    await world.restart_server({VARIABLE: str(_small_server(world.folder))})
    full = False

    def behave(_task: str, _body: Mapping[str, Any]) -> Behaviour:
        # However slow this machine fills the store, some tasks run and some wait when it is full.
        return Behaviour(latency=0.02 if full else 5.0)

    world.behave = behave
    world.agent()
    for _ in range(2):
        await world.replica(environ={"AGENTD_LOG_BYTES": "0"}).start()
    await world.sender.send(size.tasks // 2)
    await _fill(world)
    full = True
    before = len(world.sender.accepted)
    async with world.sending(size.tasks // 2):
        await asyncio.sleep(size.shocks)
        world.findings.figures["accepted_while_full"] = len(world.sender.accepted) - before
        world.findings.require(
            await work_waiting(world.bus) > 0, "no task waited while the store was full"
        )
        await _make_room(world)
        room = time.time()
    seen = await world.judge()
    after = [o.at for outcomes in seen.outcomes.values() for o in outcomes if o.at > room]
    world.limit("recovered_after", min(after) - room if after else 1e9, 5.0)


def _small_server(folder: Path) -> Path:
    script = folder / "nats-server"
    script.write_text(_WRAPPER.format(room=_ROOM, binary=find_binary()))
    script.chmod(0o700)
    return script


async def _fill(world: World) -> None:
    """Stores junk until the server has no room for more: in a stream of its own, because nobody may
    purge the log."""
    config = {"name": _JUNK, "subjects": [_JUNK], "storage": "file", "retention": "limits"}
    await jetstream.api(world.bus, f"STREAM.CREATE.{_JUNK}", {**config, "num_replicas": 1})
    number = 0
    while True:
        number += 1
        try:
            await jetstream.store(
                world.bus, _JUNK, b"x" * _PIECE, message_id=f"junk{number}", patience=0
            )
        except BusError:
            return


async def _make_room(world: World) -> None:
    await jetstream.api(world.bus, f"STREAM.DELETE.{_JUNK}")
