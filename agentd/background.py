"""Background work that cannot end unseen: what fails is logged, counted and started again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any

from agentd.errors import AgentdError

log = logging.getLogger(__name__)

# Seconds before work that failed is started again; the time doubles with each failure.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

Work = Callable[[], Awaitable[None]]
# Called with the mistake when work fails, and with "" when it is started again.
OnTrouble = Callable[[str], None]


def _nothing(_: str) -> None:
    """Reports to nobody."""


class Background:
    """The background work of one process.

    Attributes:
        on_failure: called with the name of work that failed.
        troubles: what has failed and waits to be started again: its name and the mistake.
    """

    def __init__(self, on_failure: Callable[[str], None] = _nothing) -> None:
        self.troubles: dict[str, str] = {}
        self.on_failure = on_failure
        # The event loop itself keeps only a weak reference to a task.
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(
        self, name: str, work: Work, *, on_trouble: OnTrouble = _nothing
    ) -> asyncio.Task[None]:
        """Runs `work` until it returns, and again whenever it fails. Cancel the task to end it."""

        def note(mistake: str) -> None:
            if mistake:
                self.troubles[name] = mistake
                self.on_failure(name)
            else:
                self.troubles.pop(name, None)
            on_trouble(mistake)

        # In a context of its own: it is part of no request that happened to begin it.
        keeping = keep(name, work, on_trouble=note)
        task = asyncio.create_task(keeping, name=name, context=Context())
        task.add_done_callback(lambda _: self.troubles.pop(name, None))
        return self._held(task)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs `work` once. If it fails, that is logged and counted."""
        return self._held(asyncio.create_task(self._run_once(name, work), name=name))

    def close(self) -> None:
        """Ends everything."""
        for task in self._tasks:
            task.cancel()

    def _held(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run_once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - nobody awaits it: this is its last reader
            self.on_failure(name)
            _report(error, "%s failed: %s", name, _mistake(error))


async def keep(name: str, work: Work, *, on_trouble: OnTrouble = _nothing) -> None:
    """Runs `work` until it returns, and again, after a pause, whenever it fails."""
    pause = _FIRST_PAUSE
    while True:
        started = time.monotonic()
        try:
            return await work()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure: BaseException = error  # what it waited for was cancelled, and not this task
        except Exception as error:  # noqa: BLE001 - whatever it is, the work must go on
            failure = error
        if time.monotonic() - started > _LONGEST_PAUSE:
            pause = _FIRST_PAUSE
        mistake = _mistake(failure)
        on_trouble(mistake)
        # The least part is random, so that replicas that failed together do not return together.
        seconds = pause * random.uniform(0.5, 1)
        _report(failure, "%s failed and starts again in %.1f s: %s", name, seconds, mistake)
        await asyncio.sleep(seconds)
        pause = min(2 * pause, _LONGEST_PAUSE)
        on_trouble("")


def _report(error: BaseException, text: str, *details: object) -> None:
    # An error that agentd raises says everything. Any other is a bug, whose place is needed.
    if isinstance(error, AgentdError):
        log.warning(text, *details)
    else:
        log.error(text, *details, exc_info=error)


def _mistake(error: BaseException) -> str:
    return str(error) if isinstance(error, AgentdError) else f"{type(error).__name__}: {error}"
