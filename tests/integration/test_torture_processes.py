"""The replicas of the torture suite: real forks of a real zygote."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentd.testing.torture.processes import zygote
from tests.waiting import PATIENCE


async def test_a_fork_that_was_cancelled_leaves_no_replica_and_the_next_one_is_reported(
    tmp_path: Path,
) -> None:
    async with zygote() as forks, asyncio.timeout(PATIENCE):
        first = asyncio.create_task(forks.fork(request(tmp_path / "first", "up", "nowhere")))
        await asyncio.sleep(0)  # the request is on its way
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

        second = await forks.fork(request(tmp_path / "second", "--version"))
        assert await second.ended == 0
        assert forks.orphans() == []


def request(log: Path, *argv: str) -> dict[str, Any]:
    return {
        "argv": list(argv),
        "environ": {},
        "log": str(log),
        "seed": 1,
        "without": [],
        "ack_wait": None,
    }
