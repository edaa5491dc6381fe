"""The index of the log on a real server: built, read on, shared, and built again."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import AgentdError
from agentd.nats import jetstream, objects, streams
from agentd.nats.bus import Bus, Msg
from agentd.nats.server import EmbeddedServer
from agentd.nats.streams import LOG
from agentd.protocol.message import new_id
from agentd.protocol.subjects import Subjects
from agentd.record.index.index import Index
from agentd.record.index.rows import Row, row_of
from agentd.record.queries import Filter, messages
from agentd.settings import Settings

SUBJECTS = Subjects("t")
TASK = SUBJECTS.task("a", "b")


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """A connection to a server of its own: a test counts what the log has."""
    embedded = EmbeddedServer(tmp_path / ".agentd", "relaxed")
    server = await embedded.ensure()
    bus = await Bus.connect({"servers": server.url, "token": server.token}, timeout=5)
    await streams.ensure(bus, Settings())
    yield bus
    await bus.close()
    await embedded.stop()


@pytest.fixture
def index(bus: Bus, tmp_path: Path) -> Index:
    return Index(bus, tmp_path / "index")


async def send(bus: Bus, *contents: Any) -> list[int]:
    """Stores tasks with these contents; returns their sequences."""
    found = list[int]()
    for content in contents:
        data = json.dumps({"payload": {"content": content}}).encode()
        found.append(await jetstream.store(bus, TASK, data, message_id=new_id()))
    return found


async def texts(index: Index, **where: Any) -> list[str]:
    """The texts of the messages in the index."""
    rows = await index.ask(lambda db: messages(db, Filter(env="t", **where), limit=100_000))
    return [row.text for row in rows]


def the_file(tmp_path: Path) -> Path:
    [file] = (tmp_path / "index").glob("*.sqlite")
    return file


async def test_a_log_without_messages(index: Index) -> None:
    assert await texts(index) == []


async def test_the_log_is_read_on(bus: Bus, index: Index) -> None:
    await send(bus, "one", "two")
    assert await texts(index) == ["one", "two"]

    await send(bus, "three")
    assert await texts(index) == ["one", "two", "three"]
    assert await texts(index, text="thr") == ["three"]


async def test_many_messages_come_in_batches(bus: Bus, index: Index) -> None:
    many = [f"n{number}" for number in range(2_500)]
    for each in many:
        await bus.publish(TASK, json.dumps({"payload": {"content": each}}).encode())
    await send(bus, "last")

    assert await texts(index) == [*many, "last"]


async def test_two_indexes_share_a_file(bus: Bus, index: Index, tmp_path: Path) -> None:
    await send(bus, *(f"n{number}" for number in range(300)))
    other = Index(bus, tmp_path / "index")

    both = await asyncio.gather(texts(index), texts(other))

    assert both[0] == both[1]
    assert len(both[0]) == 300


async def test_a_log_that_was_made_again_is_noticed(bus: Bus, index: Index, tmp_path: Path) -> None:
    await send(bus, "old")
    assert await texts(index) == ["old"]
    await jetstream.api(bus, f"STREAM.DELETE.{LOG}")
    await streams.ensure(bus, Settings())
    await send(bus, "new")

    assert await texts(index) == ["new"]


async def test_a_log_that_went_back_is_read_anew(bus: Bus, index: Index, tmp_path: Path) -> None:
    await send(bus, "one", "two")
    await texts(index)
    db = sqlite3.connect(the_file(tmp_path))
    with db:
        db.execute("UPDATE state SET position = position + 1000")
    db.close()

    assert await texts(index) == ["one", "two"]


async def test_another_message_in_the_place_of_the_last_one_is_noticed(
    bus: Bus, index: Index, tmp_path: Path
) -> None:
    await send(bus, "one", "two")
    await texts(index)
    db = sqlite3.connect(the_file(tmp_path))
    with db:
        db.execute("UPDATE state SET stamp = '2026-01-01T00:00:00Z'")
        db.execute("DELETE FROM message")
    db.close()

    assert await texts(index) == ["one", "two"]


async def test_messages_that_the_log_no_longer_has_are_forgotten(bus: Bus, index: Index) -> None:
    first, second = await send(bus, "one", "two")
    await texts(index)
    await jetstream.delete(bus, LOG, first)

    assert await texts(index) == ["two"]
    assert second


@pytest.mark.parametrize("damage", ["text", "middle", "empty", "gone"])
async def test_a_damaged_file_is_built_again(
    bus: Bus, index: Index, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    many = [f"n{number}" for number in range(300)]
    await send(bus, *many)
    await texts(index)
    file = the_file(tmp_path)
    data = file.read_bytes()
    match damage:
        case "text":
            file.write_text("no database")
        case "middle":
            file.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
        case "empty":
            file.write_bytes(b"")
        case _:
            file.unlink()

    await send(bus, "last")
    assert await texts(index) == [*many, "last"]
    assert ("built again" in caplog.text) is (damage in ("text", "middle"))


async def test_what_was_erased_from_the_log_is_erased_here(bus: Bus, index: Index) -> None:
    first, second = await send(bus, "stays", "erased")
    await texts(index)
    await jetstream.delete(bus, LOG, second)
    await say_erased(bus, [[first, second]])

    assert await texts(index, text="erased") == []
    assert await texts(index, kind="task") == ["stays"]


async def test_nothing_is_erased_that_the_log_still_has(bus: Bus, index: Index) -> None:
    await send(bus, *(f"n{number}" for number in range(100)))
    await texts(index)
    await say_erased(bus, [[0, 2**53 - 1]])

    assert len(await texts(index, kind="task")) == 100


async def say_erased(bus: Bus, ranges: list[list[int]]) -> None:
    """Any client may publish such an event."""
    data = json.dumps({"payload": {"content": {"erased": ranges}}}).encode()
    await jetstream.store(bus, SUBJECTS.event("dlq", "dropped"), data, message_id=new_id())


async def test_contents_in_the_object_store_are_found(bus: Bus, index: Index) -> None:
    digest = await objects.put(bus, b'{"say": "something large"}')
    await send(bus, {"$object": {"digest": digest, "size": 26}})

    assert await texts(index, text="something lar") == ["something large"]


async def test_contents_that_are_not_there_stop_nothing(bus: Bus, index: Index) -> None:
    gone = {"$object": {"digest": f"sha256:{'0' * 64}", "size": 9}}
    large = await objects.put(bus, b'"' + b"x" * 2**20 + b'"')
    await send(bus, gone, {"$object": {"digest": large, "size": 9}}, "last")

    assert await texts(index) == ["", "", "last"]
    assert await texts(index) == ["", "", "last"]


async def test_a_build_that_was_stopped_is_continued(bus: Bus, index: Index) -> None:
    many = [f"n{number}" for number in range(3_000)]
    for each in many:
        await bus.publish(TASK, json.dumps({"payload": {"content": each}}).encode())
    await send(bus, "last")
    building = asyncio.create_task(index.update())
    await asyncio.sleep(0.05)
    building.cancel()
    await asyncio.wait([building])

    assert await texts(index) == [*many, "last"]


async def test_a_process_of_its_own_reads_what_takes_long(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(bus, "one", "two")
    settings = Settings(state=tmp_path / ".agentd", env="t")
    index = Index(bus, tmp_path / "index", apart=settings)
    monkeypatch.setattr("agentd.record.index.index._FAR", 0)
    monkeypatch.setattr("agentd.record.index.index._add", None)  # of this process

    assert await texts(index) == ["one", "two"]


async def test_without_another_process_it_is_read_here(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await send(bus, "one", "two")
    index = Index(bus, tmp_path / "index", apart=Settings(state=tmp_path / "nothing"))
    monkeypatch.setattr("agentd.record.index.index._FAR", 0)

    assert await texts(index) == ["one", "two"]
    assert "no agentd is running in this folder" in caplog.text


async def test_a_mistake_in_a_question_costs_no_index(
    bus: Bus, index: Index, tmp_path: Path
) -> None:
    await send(bus, "one")
    await texts(index)
    inode = the_file(tmp_path).stat().st_ino

    with pytest.raises(AgentdError, match="Incorrect number of bindings"):
        await index.ask(lambda db: db.execute("SELECT ?").fetchone())

    assert the_file(tmp_path).stat().st_ino == inode


async def test_a_message_that_cannot_be_read_costs_only_itself(
    bus: Bus, index: Index, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await send(bus, "one", "two")

    def fails_once(msg: Msg) -> Row | None:
        if b"one" in msg.data:
            raise RuntimeError("unforeseen")
        return row_of(msg)

    monkeypatch.setattr("agentd.record.index.index.row_of", fails_once)

    assert await texts(index) == ["two"]
    assert "is skipped: RuntimeError: unforeseen" in caplog.text


async def test_another_process_that_does_not_go_on_is_named(
    bus: Bus, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(bus, "one")
    file = await index.update()
    monkeypatch.setattr("agentd.record.index.index._PATIENCE", 0.1)

    with file.lock(), pytest.raises(AgentdError, match=f"process {os.getpid()} holds"):
        await texts(index)
    assert await texts(index) == ["one"]
