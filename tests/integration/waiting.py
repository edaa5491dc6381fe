"""Waiting for a condition that no event announces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.slowness import PATIENCE


async def until(condition: Callable[[], bool]) -> None:
    """Returns once `condition()` is true.

    Raises:
        TimeoutError: it is false for `PATIENCE` seconds.
    """
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (no event announces the condition)
            await asyncio.sleep(0.005)
