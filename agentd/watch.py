"""Watches the files and hands every settled change to `apply` as a catalog.

Events only say when to look; what counts is the content. Editors write files in pieces, so a
content is taken once it has stood still, and one that does not load gets a moment to be completed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import watchfiles

from agentd.catalog import Catalog, Files, load, read_files
from agentd.errors import UsageError

log = logging.getLogger(__name__)

_STILL = 0.02  # seconds in which nothing may change
_MOMENT = 0.15  # seconds that a file which does not load gets to be completed
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
            for folder in (self._files.folder, self._files.prompt_folder):
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
        while True:
            self._changed.clear()
            files = await self._settled()
            if files is None or files == self._files:
                return None
            catalog = load(files, previous=self._catalog)
            if not catalog.broken or not await self._changes_within(_MOMENT):
                self._files, self._catalog = files, catalog
                return catalog

    async def _settled(self) -> Files | None:
        """What the files say once they stand still; None while there is no folder."""
        files = None
        while True:
            try:
                again = read_files(self._manifests, self._prompts)
            except UsageError as error:
                log.error("%s; what runs stays as it is", error)
                return None
            if again == files:
                return files
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
            seen, watched = False, _inode(folder)
            try:
                async for changes in watchfiles.awatch(
                    folder,
                    watch_filter=None,
                    step=5,
                    debounce=50,
                    rust_timeout=100,
                    yield_on_timeout=True,
                ):
                    # The first sign of life says that it watches: what changed before was missed.
                    if changes or not seen:
                        self._changed.set()
                    seen = True
                    if _inode(folder) != watched:
                        break  # another folder has its name: this one will never change again
            except (FileNotFoundError, RuntimeError) as error:
                log.debug("cannot watch %s: %s", folder, error)
            await asyncio.sleep(_LOOK_AGAIN)

    async def _poll_files(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            self._changed.set()


def _inode(folder: Path) -> int:
    """What tells a folder from another one of the same name; 0 if there is none."""
    try:
        return folder.stat().st_ino
    except OSError:
        return 0
