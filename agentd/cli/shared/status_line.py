"""Shows on a terminal that a command still waits, and for what."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator

from agentd.cli.shared.console import say_status

_EVERY = 1.0  # seconds; a quick answer comes before the first line


class StatusLine:
    """A line below the output, replaced each second while it is `ticking` and not `paused`.
    Nothing is shown where standard error is no terminal."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.paused = False

    @contextlib.asynccontextmanager
    async def ticking(self) -> AsyncGenerator[None]:
        """Shows the line until the block ends."""
        ticks = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            ticks.cancel()
            say_status("")

    async def _tick(self) -> None:
        began = time.monotonic()
        while sys.stderr.isatty():
            await asyncio.sleep(_EVERY)
            if not self.paused:
                say_status(f"{self.text} · {time.monotonic() - began:.0f} s")
