"""Edits of files become catalogs: whole ones, each once, and none is missed."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentd.catalog.catalog import Catalog, load
from agentd.errors import UsageError
from agentd.runtime import watch
from agentd.runtime.watch import Watcher

VALID = "capabilities: [a]\ninstructions: Hi.\n"
OTHER = "capabilities: [b]\ninstructions: Hi.\n"
BROKEN = "capabilities: [a"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "ada.yaml").write_text(VALID)
    return folder


class Applied:
    """The catalogs that were applied, and what to do when one is."""

    def __init__(self) -> None:
        self.catalogs: list[Catalog] = []
        self.failures = 0

    async def __call__(self, catalog: Catalog) -> None:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError("a bug")
        self.catalogs.append(catalog)

    async def count(self, number: int, seconds: float = 10) -> None:
        """Returns when there are so many."""
        async with asyncio.timeout(seconds):
            while len(self.catalogs) < number:  # noqa: ASYNC110 (files change outside)
                await asyncio.sleep(0.005)


@asynccontextmanager
async def watching(folder: Path, *, poll: float = 0) -> AsyncGenerator[tuple[Watcher, Applied]]:
    watcher = Watcher(folder, None, poll=poll)
    applied = Applied()
    watcher.read()
    running = asyncio.create_task(watcher.run(applied))
    try:
        yield watcher, applied
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def capabilities(catalog: Catalog) -> list[str]:
    return [name for spec in catalog.agents.values() for name in spec.manifest.capabilities]


async def test_an_edit_becomes_a_catalog(folder: Path) -> None:
    async with watching(folder) as (_, applied):
        (folder / "ada.yaml").write_text(OTHER)
        await applied.count(1)

    assert [capabilities(each) for each in applied.catalogs] == [["b"]]


async def test_a_file_that_an_editor_renames_into_place_is_seen(folder: Path) -> None:
    async with watching(folder) as (_, applied):
        for number, text in enumerate((OTHER, VALID), 1):
            draft = folder / "draft.tmp"
            draft.write_text(text)
            draft.replace(folder / "ada.yaml")
            await applied.count(number)

    assert [capabilities(each) for each in applied.catalogs] == [["b"], ["a"]]


async def test_a_write_that_changes_nothing_is_no_catalog(folder: Path) -> None:
    async with watching(folder) as (watcher, applied):
        (folder / "ada.yaml").write_text(VALID)
        watcher.look()
        await asyncio.sleep(0.2)

    assert applied.catalogs == []


async def test_a_file_that_is_completed_in_a_moment_is_not_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MOMENT", 5.0)
    monkeypatch.setattr(watch, "_PATIENCE", 10.0)
    async with watching(folder) as (_, applied):
        (folder / "ada.yaml").write_text(BROKEN)
        await asyncio.sleep(0.3)
        (folder / "ada.yaml").write_text(OTHER)
        await applied.count(1)

    assert [bool(each.broken) for each in applied.catalogs] == [False]


async def test_a_file_that_stays_broken_is_reported_and_delays_no_other_edit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(folder) as (_, applied):
        (folder / "ada.yaml").write_text(BROKEN)
        await applied.count(1)
        assert applied.catalogs[0].broken == {folder / "ada.yaml"}
        monkeypatch.setattr(watch, "_MOMENT", 60.0)
        monkeypatch.setattr(watch, "_PATIENCE", 60.0)
        (folder / "bob.yaml").write_text(OTHER)
        await applied.count(2)

    assert "bob" in applied.catalogs[1].agents


async def test_an_edit_that_was_not_applied_is_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "_AGAIN", 0.05)
    async with watching(folder) as (_, applied):
        applied.failures = 2
        (folder / "ada.yaml").write_text(OTHER)
        await applied.count(1)

    assert [capabilities(each) for each in applied.catalogs] == [["b"]]
    assert caplog.text.count("an edit was not applied; it will be tried again") == 2


def move_away(folder: Path) -> None:
    folder.rename(f"{folder}.old")


def create(folder: Path) -> None:
    folder.mkdir()
    (folder / "ada.yaml").write_text(OTHER)


@pytest.mark.parametrize("remove", [shutil.rmtree, move_away])
async def test_a_folder_that_was_replaced_is_watched(
    folder: Path, remove: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_AGAIN", 0.05)
    async with watching(folder) as (_, applied):
        remove(folder)
        create(folder)
        await applied.count(1)
        while capabilities(applied.catalogs[-1]) != ["b"]:
            await applied.count(len(applied.catalogs) + 1)
        (folder / "ada.yaml").write_text(VALID)
        await applied.count(len(applied.catalogs) + 1)

    assert capabilities(applied.catalogs[-1]) == ["a"]


async def test_a_folder_that_is_gone_changes_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(folder) as (watcher, applied):
        move_away(folder)
        watcher.look()
        async with asyncio.timeout(10):
            while "the running agents stay unchanged" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    assert applied.catalogs == []


async def test_the_files_are_polled_where_events_do_not_arrive(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Watcher, "_watch", nothing)
    async with watching(folder, poll=0.02) as (_, applied):
        (folder / "ada.yaml").write_text(OTHER)
        await applied.count(1)


def test_a_folder_that_does_not_exist_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Watcher(tmp_path / "nowhere", None, poll=0).read()


async def test_an_edit_is_checked_beside_the_event_loop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of a large JSON Schema takes seconds, and the agents that run must go on."""
    threads: list[str] = []

    def noting(*files: Any, **options: Any) -> Catalog:
        threads.append(threading.current_thread().name)
        return load(*files, **options)

    async with watching(folder) as (_, applied):
        monkeypatch.setattr(watch, "load", noting)
        (folder / "ada.yaml").write_text(OTHER)
        await applied.count(1)

    assert threads
    assert threading.current_thread().name not in threads
