"""How long tests wait: until a condition is true, and longer on a machine that is known slow."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

# `scripts/flaky.py` sets it when it slows the machine down: 5 is a fifth of the usual speed.
SLOWNESS = float(os.environ.get("TEST_SLOWNESS", "1"))
# Seconds. Long enough for a busy machine, since a test that passes never waits so long.
PATIENCE = 30.0 * SLOWNESS


async def until(condition: Callable[[], bool]) -> None:
    """Returns once `condition()` is true.

    Raises:
        TimeoutError: it is false for `PATIENCE` seconds.
    """
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (no event announces the condition)
            await asyncio.sleep(0.005)
