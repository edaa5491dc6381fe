"""Stacks of asyncio tasks and threads as text: whole, grouped, and without source or values."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentd.nats.bus import Bus
from agentd.runtime import stacks


async def wait_here() -> None:
    await asyncio.Event().wait()


async def numbers() -> AsyncIterator[int]:
    await wait_here()
    yield 1


async def read_numbers() -> None:
    async for _ in numbers():
        pass


@asynccontextmanager
async def opened() -> AsyncGenerator[None]:
    await wait_here()
    yield


async def open_it() -> None:
    async with opened():
        pass


class Awaitable:
    def __await__(self) -> Generator[Any, Any, None]:
        yield from wait_here().__await__()


async def await_object() -> None:
    await Awaitable()


async def blocks(*work: Coroutine[Any, Any, None], name: str | None = None) -> list[list[str]]:
    """What is shown of tasks that do this work, once all of them wait."""
    tasks = [asyncio.create_task(each, name=name) for each in work]
    await asyncio.sleep(0)
    try:
        return stacks.of_tasks(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def functions(block: list[str]) -> list[str]:
    """The names of a block's calls; each line has the form `name (file:line)`."""
    found = [re.fullmatch(r"  (\S+) \(\S+:\d+\)", line) for line in block[1:]]
    return [each[1] for each in found if each]


@pytest.mark.parametrize(
    ("work", "calls"),
    [
        (wait_here, ["wait_here", "Event.wait"]),
        (read_numbers, ["read_numbers", "numbers", "wait_here", "Event.wait"]),
        (await_object, ["await_object", "Awaitable.__await__", "wait_here", "Event.wait"]),
        (
            open_it,
            [
                "open_it",
                "_AsyncGeneratorContextManager.__aenter__",
                "opened",
                "wait_here",
                "Event.wait",
            ],
        ),
    ],
)
async def test_a_stack_leads_from_the_task_to_what_it_waits_for(
    work: Any, calls: list[str]
) -> None:
    [block] = await blocks(work())

    assert functions(block) == calls


async def test_tasks_with_the_same_stack_are_counted_the_rarest_stack_first() -> None:
    first, second = await blocks(*(wait_here() for _ in range(50)), read_numbers())

    assert first[0] == "1 task"
    assert second[0] == "50 tasks"


async def test_the_names_that_somebody_chose_are_shown() -> None:
    [block] = await blocks(wait_here(), wait_here(), name="pull analyst")

    assert block[0] == "2 tasks: pull analyst"


async def test_a_deep_stack_is_cut_to_its_innermost_calls() -> None:
    async def deep(depth: int) -> None:
        await (deep(depth - 1) if depth else wait_here())

    [block] = await blocks(deep(100))

    assert len(block) == 25
    assert functions(block)[-2:] == ["wait_here", "Event.wait"]


async def test_files_are_shown_from_the_package_on() -> None:
    [block] = await blocks(wait_here())

    assert "(asyncio/locks.py:" in block[-1]


def test_every_thread_is_shown_with_its_calls() -> None:
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait, name="a worker", daemon=True)
    thread.start()
    try:
        lines = stacks.of_threads()
    finally:
        waiting.set()
        thread.join()

    after = lines[lines.index("a worker (daemon)") :]
    assert any("Event.wait (threading.py:" in line for line in after)
    assert any(line.startswith("  of_threads (agentd/runtime/stacks.py:") for line in lines)


def test_the_thread_that_a_signal_interrupted_is_shown_as_it_was() -> None:
    lines = stacks.of_threads(inspect.currentframe())

    name = "test_the_thread_that_a_signal_interrupted_is_shown_as_it_was"
    assert any(line.startswith(f"  {name} (") for line in lines)
    assert not any("of_threads" in line for line in lines)


async def test_a_task_is_placed_at_its_innermost_call_of_agentd() -> None:
    waits = asyncio.create_task(Bus({}, print).until_connected())
    foreign = asyncio.create_task(wait_here())
    await asyncio.sleep(0)
    found = stacks.of_task(waits), stacks.of_task(foreign)
    for task in (waits, foreign):
        task.cancel()
    await asyncio.gather(waits, foreign, return_exceptions=True)

    assert "until_connected (agentd/nats/" in found[0]
    assert found[1] == ""
