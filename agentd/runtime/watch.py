"""Watches the files and hands every settled change to `apply` as a catalog.

Events only say when to look; what counts is the content. Editors write files in pieces, so a
content is taken once it has stood still, and one that does not load gets a moment to be completed.
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

_STILL = 0.02  # seconds in which nothing may change
_MOMENT = 0.15  # seconds that a file which does not load gets to be completed
_PATIENCE = 1.0  # seconds that a folder which is never quiet can hold up what is good
_LOOK_AGAIN = 1.0  # seconds until a folder that cannot be watched is tried again


class Watcher:
    """The folders of one process, and the catalog that they last made."""

    def __init__(self, manifests: Path, prompts: Path | None, *, poll: float) -> None:
        self._manifests = manifests
        self._prompts = prompts
        self._poll = poll
        self._files: Files | None = None
        self._catalog: Catalog | None = None
        self._changed = asyncio.Event()

    def read(self) -> Catalog:
        """The catalog of the files as they are now.

        Raises:
            UsageError: there is no such folder.
        """
        self._files = read_files(self._manifests, self._prompts)
        self._catalog = load(self._files)
        return self._catalog

    def look(self) -> None:
        """Asks for a look at the files, e.g. on SIGHUP."""
        self._changed.set()

    async def run(self, apply: Callable[[Catalog], Awaitable[None]]) -> None:
        """Hands `apply` a catalog after every change, for ever."""
        async with asyncio.TaskGroup() as tasks:
            assert self._files is not None, "read() comes first"
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
        """Whatever goes wrong with one edit, the next one is seen, and this one tried again."""
        try:
            await apply(catalog)
        except Exception:
            log.exception("an edit was not applied; it will be tried again")
            self._files = None
            asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._changed.set)

    async def _changed_catalog(self) -> Catalog | None:
        """The catalog of what the files say now, if it differs from what they said before."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + _PATIENCE
        while True:
            self._changed.clear()
            files = await self._settled()
            if files is None or files == self._files:
                return None
            catalog = load(files, previous=self._catalog)
            # A mistake that is old gets no moment: it must not hold up what others edit.
            hopeful = self._breaks(catalog) and clock() < deadline
            if not hopeful or not await self._changes_within(_MOMENT):
                self._files, self._catalog = files, catalog
                return catalog

    def _breaks(self, catalog: Catalog) -> bool:
        """Whether a file does not load that did before, or now for another reason."""
        before = self._catalog
        return any(
            before is None or before.problems_of(file) != catalog.problems_of(file)
            for file in catalog.broken
        )

    async def _settled(self) -> Files | None:
        """What the files say once they stand still, or have not for long; None while there is no
        folder."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + _PATIENCE
        files = None
        while True:
            try:
                again = await asyncio.to_thread(read_files, self._manifests, self._prompts)
            except UsageError as error:
                log.error("%s; what runs stays as it is", error)
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
        """Sets the event at every sign of change below `folder`.

        Folders, never files: a file that an editor renames into place is another file. All events
        count: a mounted ConfigMap changes by the swap of a hidden link.
        """
        while True:
            try:
                await self._watch_until_replaced(folder)
                continue
            except (OSError, RuntimeError) as error:
                log.debug("cannot watch %s: %s", folder, error)
            await asyncio.sleep(_LOOK_AGAIN)

    async def _watch_until_replaced(self, folder: Path) -> None:
        """Returns when another folder has its name: the one that is watched never changes again."""
        seen, watched = False, _inode(folder)
        found = watchfiles.awatch(
            folder, watch_filter=None, step=5, debounce=50, rust_timeout=100, yield_on_timeout=True
        )
        async with aclosing(found):
            async for changes in found:
                # The first sign of life says that it watches: what changed before was missed.
                if changes or not seen:
                    self._changed.set()
                seen = True
                # Both: a folder made at once in the place of another mostly gets its inode.
                if _holds(changes, folder) or _inode(folder) != watched:
                    return

    async def _poll_files(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            self._changed.set()


def _inode(folder: Path) -> int:
    """What tells a folder from another one of the same name. Raises OSError if there is none."""
    return folder.stat().st_ino


def _holds(changes: Iterable[tuple[Any, str]], folder: Path) -> bool:
    """Whether the folder itself was made, moved or deleted."""
    path = os.path.abspath(folder)
    return any(changed == path for _, changed in changes)
