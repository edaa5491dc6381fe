"""Watches the files, and passes each change to `apply` as a catalog.

The events of the file system only say when to read; the contents decide whether anything changed.
Editors write files in pieces. So contents count once they are the same twice in a row, and a file
that does not load gets a moment to be completed before it is reported.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import watchfiles

from agentd.catalog.catalog import Catalog, Files, load, read_files
from agentd.errors import UsageError

log = logging.getLogger(__name__)

_STILL = 0.02  # seconds between two reads that must give the same
_MOMENT = 0.15  # seconds for a file that does not load to be completed
_PATIENCE = 1.0  # seconds for which a folder that changes all the time can delay a catalog
_AGAIN = 1.0  # seconds until a folder that cannot be watched is tried again


class Watcher:
    """The folders of one process, and the catalog that was read from them last."""

    def __init__(self, manifests: Path, prompts: Path | None, *, poll: float) -> None:
        self._manifests = manifests
        self._prompts = prompts
        self._poll = poll
        self._files: Files | None = None
        self._catalog: Catalog | None = None
        self._changed = asyncio.Event()

    def read(self) -> Catalog:
        """Reads the files; returns their catalog.

        Raises:
            UsageError: the folder does not exist.
        """
        self._files = read_files(self._manifests, self._prompts)
        self._catalog = load(self._files)
        return self._catalog

    def look(self) -> None:
        """Has the files read again, for example on SIGHUP."""
        self._changed.set()

    async def run(self, apply: Callable[[Catalog], Awaitable[None]]) -> None:
        """Calls `apply` with a catalog after each change, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            assert self._files is not None, "call read() first"
            files = self._files
            for folder in (files.folder, files.prompt_folder, files.tool_folder):
                tasks.create_task(self._watch(folder))
            if self._poll:
                tasks.create_task(self._poll_files())
            while True:
                await self._changed.wait()
                catalog = await self._changed_catalog()
                if catalog is not None:
                    await self._apply(apply, catalog)

    async def _apply(self, apply: Callable[[Catalog], Awaitable[None]], catalog: Catalog) -> None:
        """A bug in `apply` must not end the watching: this edit is tried again, later ones too."""
        try:
            await apply(catalog)
        except Exception:
            log.exception("an edit was not applied; it will be tried again")
            self._files = None
            asyncio.get_running_loop().call_later(_AGAIN, self._changed.set)

    async def _changed_catalog(self) -> Catalog | None:
        """The catalog of the files as they are now; None if they are as before."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + _PATIENCE
        while True:
            self._changed.clear()
            files = await self._settled()
            if files is None or files == self._files:
                return None
            # In a thread: to check a large JSON Schema takes seconds.
            catalog = await asyncio.to_thread(load, files, previous=self._catalog)
            # An old problem gets no moment: it must not delay the edits of other files.
            may_be_unfinished = self._has_new_problems(catalog) and clock() < deadline
            if not may_be_unfinished or not await self._changes_within(_MOMENT):
                self._files, self._catalog = files, catalog
                return catalog

    def _has_new_problems(self, catalog: Catalog) -> bool:
        """Whether a file does not load, for a reason that it did not have before."""
        before = self._catalog
        return any(
            before is None or before.problems_of(file) != catalog.problems_of(file)
            for file in catalog.broken
        )

    async def _settled(self) -> Files | None:
        """The files once two reads give the same, or after `_PATIENCE`; None without a folder."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + _PATIENCE
        files = None
        while True:
            try:
                again = await asyncio.to_thread(read_files, self._manifests, self._prompts)
            except UsageError as error:
                log.error("%s; the running agents stay unchanged", error)
                return None
            if again == files or clock() >= deadline:
                return again
            files = again
            await asyncio.sleep(_STILL)

    async def _changes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _watch(self, folder: Path) -> None:
        """Sets the event at each sign of a change below `folder`.

        The folder is watched, never a single file: editors rename a new file into place, and a
        watch on the old one would see nothing more. Hidden files count too: Kubernetes changes a
        mounted ConfigMap by swapping a hidden link.
        """
        while True:
            try:
                await self._watch_until_replaced(folder)
                continue
            except (OSError, RuntimeError) as error:
                log.debug("cannot watch %s: %s", folder, error)
            await asyncio.sleep(_AGAIN)

    async def _watch_until_replaced(self, folder: Path) -> None:
        """Returns when the folder was replaced: the one being watched never changes again."""
        started, watched = False, _inode(folder)
        # These values bring an edit here after 10 to 20 ms; with the defaults it takes 100 ms.
        found = watchfiles.awatch(
            folder, watch_filter=None, step=5, debounce=50, rust_timeout=100, yield_on_timeout=True
        )
        async with aclosing(found):
            async for changes in found:
                # The first answer, even an empty one, says that the watch has started. Changes
                # made before that were missed, so the files are read once.
                if changes or not started:
                    self._changed.set()
                started = True
                # Both checks: a folder created right after the deletion often gets the same inode.
                if _holds(changes, folder) or _inode(folder) != watched:
                    return

    async def _poll_files(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            self._changed.set()


def _inode(folder: Path) -> int:
    """What distinguishes a folder from another of the same name.

    Raises:
        OSError: the folder does not exist.
    """
    return folder.stat().st_ino


def _holds(changes: Iterable[tuple[Any, str]], folder: Path) -> bool:
    """Whether the folder itself was created, moved or deleted."""
    path = os.path.abspath(folder)
    return any(changed == path for _, changed in changes)
