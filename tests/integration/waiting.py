"""Waiting for what nobody tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Waits for it to become true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (nobody tells when it becomes true)
            await asyncio.sleep(0.005)
