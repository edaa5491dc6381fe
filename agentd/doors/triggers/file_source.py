"""Starts a task for each new file of a folder, once for all replicas that see the folder."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from agentd.catalog.spec import AgentSpec
from agentd.doors.triggers.delivery import of_file
from agentd.doors.triggers.draft import TriggerError, draft
from agentd.doors.triggers.folder import Folder
from agentd.doors.triggers.intake import Intake, may_pass
from agentd.errors import BusError, TaskError, UsageError
from agentd.manifest.triggers.trigger import Trigger
from agentd.metrics import Metrics
from agentd.run.attachments import LARGEST, attachment

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between two looks at the folder: network file systems report no changes
_PAUSE = 5.0  # seconds after a failure
# Seconds after which every file is looked at as if it were new: `Intake.is_stored` then has the log
# remember those that stay in the folder.
_AFRESH = 86400.0


class FileSource:
    """One trigger on a folder, in this process. `spec` returns the agent as it is now."""

    def __init__(
        self, intake: Intake, metrics: Metrics, trigger: Trigger, spec: Callable[[], AgentSpec]
    ) -> None:
        self._intake = intake
        self._metrics = metrics
        self._trigger = trigger
        self._spec = spec
        self._agent = spec().name
        folder, _, pattern = trigger.name.rpartition("/")
        self._folder = Folder(spec().project / folder, pattern, LARGEST)
        self._missing = False

    async def run(self) -> None:
        """Starts tasks until it is cancelled."""
        started = time.monotonic()
        while True:
            if time.monotonic() - started >= _AFRESH:
                started = time.monotonic()
                self._folder.forget()
            done = not self._intake.bus.connected or await self._look()
            await asyncio.sleep(_LOOK if done else _PAUSE)

    async def _look(self) -> bool:
        """Starts a task for each file that is new; False if one has to wait."""
        found = self._folder.complete()
        try:
            # Each in a thread: a file may be large, and the file system slow.
            while new := await asyncio.to_thread(next, found, None):
                if not await self._take(*new):
                    return False
        except OSError as error:
            self._report_missing(error)
        else:
            self._missing = False
        finally:
            found.close()
        return True

    async def _take(self, name: str, data: bytes | None) -> bool:
        """Starts the task of a file; False if that may work later."""
        path = self._folder.path / name
        try:
            outcome = await self._start(path, data)
        except (BusError, TaskError, TriggerError, UsageError) as error:
            if may_pass(error):
                log.warning("no task for %s yet: %s", path, error, extra={"agent": self._agent})
                self._metrics.trigger("files", self._trigger.name, "failed")
                return False
            log.error("no task for %s: %s", path, error, extra={"agent": self._agent})
            outcome = "refused"
        self._folder.take(name)
        self._metrics.trigger("files", self._trigger.name, outcome)
        return True

    async def _start(self, path: Path, data: bytes | None) -> str:
        if data is None:
            raise UsageError(f"it is too large: a task takes {LARGEST / 1e6:g} MB of files")
        file = attachment(data, path.name, path.name)
        planned = draft(self._spec(), self._trigger, of_file(file, path=str(path)))
        if planned is None:
            return "ignored"
        # Before the file is uploaded: after a restart all files are looked at again.
        if await self._intake.is_stored(planned):
            return "repeated"
        return "repeated" if (await self._intake.accept(planned)).repeated else "accepted"

    def _report_missing(self, error: OSError) -> None:
        if not self._missing:
            text = "the folder %s cannot be read: %s"
            log.warning(text, self._folder.path, error.strerror, extra={"agent": self._agent})
        self._missing = True
