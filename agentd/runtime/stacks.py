"""Shows as text where asyncio tasks and threads are.

Only functions, files and line numbers appear: local variables may hold the content of messages.
"""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import agentd

_FRAMES = 24  # calls shown of one stack, the innermost ones
_MOST_TASKS = 5_000  # a look at one takes 10 µs, and the event loop waits
_NAMES = 5  # names shown of tasks with the same stack

# Files are shown from below one of these: the package's own folder, the standard library, packages.
_ROOTS = (Path(agentd.__file__).parents[1], Path(asyncio.__file__).parents[1])
_PACKAGES = "site-packages/"
_DEFAULT_NAME = re.compile(r"Task-\d+")

# What a suspended object is called by its kind: its frame, and the object that it awaits.
_KINDS = (
    ("cr_frame", "cr_await"),
    ("gi_frame", "gi_yieldfrom"),
    ("ag_frame", "ag_await"),
)


def of_thread(thread_id: int, most: int = _FRAMES) -> list[str]:
    """The innermost calls of a thread at this moment, outermost first; at most `most` of them."""
    return _calls(sys._current_frames().get(thread_id), most)  # pyright: ignore[reportPrivateUsage]


def of_threads(here: FrameType | None = None) -> list[str]:
    """Every thread of the process: its name, then a line for each call.

    `here` is shown for the thread that calls this, instead of the call itself.
    """
    lines: list[str] = []
    for thread in threading.enumerate():
        own = here is not None and thread.ident == threading.get_ident()
        calls = _calls(here, _FRAMES) if own else of_thread(thread.ident or 0)
        lines.append(f"{thread.name}{' (daemon)' if thread.daemon else ''}")
        lines += [f"  {call}" for call in calls]
    return lines


def of_tasks(tasks: Iterable[asyncio.Task[Any]]) -> list[list[str]]:
    """One block of lines for each different stack, the rarest stack first.

    Tasks with the same stack are counted, not repeated: a thousand idle agents are one block.
    """
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for number, task in enumerate(tasks):
        if number == _MOST_TASKS:
            groups[(f"more than {_MOST_TASKS:,} tasks; the others are not shown",)].append("")
            break
        calls = [_call(frame) for frame in _awaited(task.get_coro())][-_FRAMES:]
        groups[tuple(calls)].append(task.get_name())
    blocks = sorted(groups.items(), key=lambda each: len(each[1]))
    return [[_title(names), *(f"  {call}" for call in calls)] for calls, names in blocks]


def of_task(task: asyncio.Task[Any]) -> str:
    """The innermost call of agentd's own code in a task; empty if it has none."""
    calls = [_call(frame) for frame in _awaited(task.get_coro())]
    return next((call for call in reversed(calls) if "(agentd/" in call), "")


def _title(names: list[str]) -> str:
    """How many tasks, and the first names that somebody chose for one of them."""
    chosen = sorted({name for name in names if name and not _DEFAULT_NAME.fullmatch(name)})
    more = ", …" if len(chosen) > _NAMES else ""
    count = f"{len(names)} task{'' if len(names) == 1 else 's'}"
    return f"{count}: {', '.join(chosen[:_NAMES])}{more}" if chosen else count


def _awaited(awaited: object) -> Iterator[FrameType]:
    """The frames of a suspended coroutine, outermost first.

    `Task.get_stack` gives only the outermost one: that of the coroutine the task was made with.
    """
    while awaited is not None:
        for frame_name, next_name in _KINDS:
            if hasattr(awaited, frame_name):
                frame = getattr(awaited, frame_name)
                if frame is not None:
                    yield frame
                awaited = getattr(awaited, next_name)
                break
        else:
            # Some are awaited through an object that does not name them: an asynchronous generator,
            # and a coroutine whose `__await__` was called.
            held = gc.get_referents(awaited)
            frames = [name for name, _ in _KINDS]
            awaited = next((o for o in held if any(hasattr(o, name) for name in frames)), None)


def _calls(frame: FrameType | None, most: int) -> list[str]:
    """The innermost `most` calls that led to `frame`, outermost first."""
    calls: list[str] = []
    while frame is not None and len(calls) < most:
        calls.append(_call(frame))
        frame = frame.f_back
    return calls[::-1]


def _call(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} ({_short(frame.f_code.co_filename)}:{frame.f_lineno})"


def _short(file: str) -> str:
    if _PACKAGES in file:
        return file.rpartition(_PACKAGES)[2]
    for root in _ROOTS:
        if file.startswith(f"{root}/"):
            return file.removeprefix(f"{root}/")
    return file
