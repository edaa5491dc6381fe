"""Clients that connect and stay silent: what they cost, and what others notice of them."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from statistics import median

from bench.doors import ask_whole, whole_agent
from bench.figures import Figure, Section, percentile
from bench.rig import rig

_AT_ONCE = 250  # connections that are opened at the same time
_OTHER_FILES = 500
_SETTLED = 2.0  # seconds after the last connection


async def measure(*, connections: int, asks: int) -> list[Section]:
    """One section.

    Raises:
        RuntimeError: the system allows this process fewer open files.
    """
    _require_files(connections + _OTHER_FILES)
    async with rig("always") as ground, whole_agent(ground) as (agentd, port):
        await _ask(port, 5)
        alone, memory = await _ask(port, asks), agentd.rss()
        async with contextlib.AsyncExitStack() as stack:
            readers = await _connect(stack, port, connections)
            await asyncio.sleep(_SETTLED)
            # Before the tasks: those that are idle for too long are closed meanwhile.
            held = sum(not reader.at_eof() for reader in readers)
            each = (agentd.rss() - memory) * 1024 / max(held, 1)
            beside = await _ask(port, asks)
            figures = _figures(connections, held, each, alone, beside)
    notes = [
        "The tasks come on a connection of their own, one after the other, with `Prefer: wait`. "
        "agentd holds 4,096 connections, if the system allows as many open files; for one more, it "
        "closes the one that has been idle for longest."
    ]
    return [Section(title="Idle connections", figures=figures, notes=notes)]


def _require_files(wanted: int) -> None:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < wanted:
        raise RuntimeError(f"it needs {wanted:,} open files, and may have {most:,} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, wanted), most))


async def _connect(
    stack: contextlib.AsyncExitStack, port: int, connections: int
) -> list[asyncio.StreamReader]:
    """Opens connections that say nothing."""
    readers: list[asyncio.StreamReader] = []
    while len(readers) < connections:
        some = min(_AT_ONCE, connections - len(readers))
        opening = (asyncio.open_connection("127.0.0.1", port) for _ in range(some))
        for reader, writer in await asyncio.gather(*opening):
            readers.append(reader)
            stack.callback(writer.close)  # a writer that nobody refers to closes itself
    return readers


async def _ask(port: int, asks: int) -> list[float]:
    """The times of tasks from the request to the result, in ms."""
    taken: list[float] = []
    async with ask_whole(port) as ask:
        for _ in range(asks):
            started = time.perf_counter()
            await ask()
            taken.append((time.perf_counter() - started) * 1000)
    return taken


def _figures(
    connections: int, held: int, each: float, alone: list[float], beside: list[float]
) -> list[Figure]:
    figures = {
        ("connections that are held", ""): float(held),
        ("memory of each", "KB"): each,
        ("a task before, p50", "ms"): median(alone),
        (f"a task beside {connections:,} of them, p50", "ms"): median(beside),
        ("a task before, p99", "ms"): percentile(alone, 99),
        (f"a task beside {connections:,} of them, p99", "ms"): percentile(beside, 99),
    }
    return [
        Figure(name=name, unit=unit, samples=(value,)) for (name, unit), value in figures.items()
    ]
