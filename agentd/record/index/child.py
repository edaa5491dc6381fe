"""Brings an index up to date in a process of its own: its settings are on standard input."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sys

from agentd.nats.session import visit
from agentd.record.index.index import Index
from agentd.settings import Settings


async def _update(settings: Settings) -> None:
    async with visit(settings) as bus:
        await Index(bus, settings.index_folder).update()


if __name__ == "__main__":
    os.nice(5)  # what answers tasks comes first
    gc.set_threshold(100_000)  # messages are many objects without cycles
    asyncio.run(_update(pickle.load(sys.stdin.buffer)))
