"""`agentd forget` on a real server: what a conversation said is nowhere any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import UsageError
from agentd.nats import jetstream, objects, streams
from agentd.nats.bus import Bus
from agentd.nats.server import EmbeddedServer
from agentd.nats.streams import LOG, SCHEDULES, WORK
from agentd.protocol import erasure
from agentd.protocol.fields import AgentIdentity, Context
from agentd.protocol.message import AgentMessage, encode, new, new_id
from agentd.protocol.subjects import Subjects, digest
from agentd.record import queries
from agentd.record.audit import step
from agentd.record.audit.keeper import Keeper
from agentd.record.audit.verify import Known, verify
from agentd.record.forget import Forgotten, forget
from agentd.record.index.index import Index
from agentd.record.tombstones import tombstone
from agentd.settings import Settings
from tests.waiting import PATIENCE

SUBJECTS = Subjects("t")
SECRET = "My number is 555-0199"
MARIA = AgentIdentity(id="maria", type="user")
BY = {"kind": "cli", "name": "maria@here"}


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
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


class Talk:
    """Stores the messages of a conversation."""

    def __init__(self, bus: Bus, conversation: str) -> None:
        self.bus = bus
        self.conversation = conversation

    async def ask(self, name: str, content: Any = SECRET) -> AgentMessage:
        context = Context(conversation_id=self.conversation)
        task = new("task", content, source=MARIA, id=name, context=context)
        await self.store(SUBJECTS.task("a", "b"), encode(task))
        return task

    async def answer(self, task: AgentMessage, data: Any = f"You said: {SECRET}") -> None:
        content = {"success": True, "data": data, "error": None}
        message = task.reply("result", content, source=AgentIdentity(id="a", type="agent"))
        await self.store(SUBJECTS.result("a", "b", task.id), encode(message))
        event = task.reply(
            "event", {"event": "conversation_exchange", "user": SECRET}, source=MARIA
        )
        await self.store(SUBJECTS.event("conversation", digest("chat")), encode(event))

    async def store(self, subject: str, data: bytes, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await jetstream.store(self.bus, subject, data, message_id=new_id(), headers=named)


async def contents(bus: Bus) -> dict[str, bytes]:
    """Everything that the streams of agentd have."""
    info = await jetstream.api(bus, "STREAM.NAMES")
    return {
        name: b"\n".join([msg.data async for msg in jetstream.stored(bus, name, ">")])
        for name in info["streams"]
    }


async def forgotten(bus: Bus, index: Index, **more: Any) -> Forgotten:
    return await forget(bus, SUBJECTS, index, "chat", by=BY, **more)


async def test_nothing_of_a_conversation_is_left_but_a_tombstone(
    bus: Bus, index: Index, tmp_path: Path
) -> None:
    own = await objects.put(bus, SECRET.encode() * 100)
    shared = await objects.put(bus, b"a price list" * 100)
    talk, other = Talk(bus, "chat"), Talk(bus, "elsewhere")
    parts = [{"type": "file", "object": name} for name in (own, shared)]
    await talk.answer(await talk.ask("t1", {"instruction": SECRET, "parts": parts}))
    kept = await other.ask("t2", {"instruction": "Hello.", "parts": parts[1:]})
    await other.answer(kept, "Hello.")
    system = Context(conversation_id="system")
    decision = new("event", {"decision": "deny", "reason": SECRET}, source=MARIA, context=system)
    await talk.store(SUBJECTS.event("approval", "t1"), encode(decision))
    assert SECRET in str(await contents(bus))

    done = await forgotten(bus, index)

    assert (done.messages, done.objects, done.shared) == (4, 1, 1)
    found = await contents(bus)
    elsewhere = found.pop(LOG).decode().splitlines()
    assert [line for line in elsewhere if SECRET in line] == [encode_exchange(elsewhere)]
    assert SECRET not in str(found)
    assert b"a price list" in found[objects.STREAM]
    rows = await index.ask(lambda db: queries.messages(db, queries.Filter(env="t")))
    assert [(row.conversation, row.name) for row in rows] == [
        *[("elsewhere", "")] * 2,
        ("elsewhere", "conversation_exchange"),
        *[("system", "conversation_forgotten")] * 2,
    ]
    stone = await tombstone(bus, "t", index, "chat")
    assert stone
    assert (stone.by, stone.messages) == (BY, 4)
    assert await tombstone(bus, "t", index, "elsewhere") is None
    with pytest.raises(UsageError, match="nothing of a conversation 'chat' is on record"):
        await forgotten(bus, index)
    assert holding(tmp_path, b"You said") == []


def holding(folder: Path, text: bytes) -> list[Path]:
    """The files that have this text, also where nothing refers to it any more."""
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]


def encode_exchange(lines: list[str]) -> str:
    """The one line of the other conversation that has the text."""
    [line] = [each for each in lines if '"elsewhere"' in each and SECRET in each]
    return line


async def test_waiting_copies_of_its_tasks_are_erased(bus: Bus, index: Index) -> None:
    talk = Talk(bus, "chat")
    task = await talk.ask("t1")
    later = {"Nats-Schedule": "@at 2035-01-01T00:00:00Z", "Nats-Schedule-Target": "due.t.task.a.b"}
    await jetstream.store(
        bus, SUBJECTS.schedule("message", "t9"), encode(task), message_id=new_id(), headers=later
    )
    async with asyncio.timeout(PATIENCE):
        while not (await contents(bus))[WORK]:  # noqa: ASYNC110 (the server copies it)
            await asyncio.sleep(0.01)
    with pytest.raises(UsageError, match=r"1 of its tasks have no result yet \(t1\): cancel them"):
        await forgotten(bus, index)

    done = await forgotten(bus, index, force=True)

    assert (done.messages, done.copies) == (1, 2)
    found = await contents(bus)
    assert (found[WORK], found[SCHEDULES]) == (b"", b"")
    assert SECRET not in str(found)


async def test_what_an_erased_event_announced_stays_announced(bus: Bus, index: Index) -> None:
    """The audit would call the dead letter stolen that an event of this conversation names."""
    talk = Talk(bus, "chat")
    task = await talk.ask("t1")
    await talk.answer(task)
    dropped = {"event": "letter_dropped", "task": "t1", "error": SECRET, "erased": [[3, 4]]}
    event = new("event", dropped, source=MARIA, context=Context(conversation_id="system"))
    await talk.store(SUBJECTS.event("dlq", "dropped"), encode(event))

    await forgotten(bus, index)

    log = (await contents(bus))[LOG]
    assert SECRET.encode() not in log
    event = json.loads(log.splitlines()[-1])
    assert [3, 4] in event["payload"]["content"][erasure.FIELD]


async def test_many_messages_are_erased_in_parts(
    bus: Bus, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.record.forget._MOST", 4)
    talk = Talk(bus, "chat")
    for number in range(6):
        await talk.answer(await talk.ask(f"t{number}"))

    done = await forgotten(bus, index)

    assert done.messages == 18
    assert SECRET not in str(await contents(bus))
    stone = await tombstone(bus, "t", index, "chat")
    assert stone
    assert stone.messages == 18


async def test_a_stranger_cannot_say_that_a_conversation_was_forgotten_of_what_is_there(
    bus: Bus, index: Index
) -> None:
    talk = Talk(bus, "chat")
    await talk.answer(await talk.ask("t1"))
    rows = await index.ask(lambda db: queries.of_conversation(db, "t", "chat"))
    claim = {"event": "conversation_forgotten", "erased": [[row.sequence] * 2 for row in rows]}
    event = new("event", claim, source=MARIA, context=Context(conversation_id="system"))
    await talk.store(SUBJECTS.event("conversation", "forgotten"), encode(event))

    assert await index.ask(lambda db: queries.of_conversation(db, "t", "chat")) == rows


async def test_the_audit_verifies_what_was_forgotten(bus: Bus, index: Index) -> None:
    talk = Talk(bus, "chat")
    task = await talk.ask("t1")
    await talk.answer(task)
    keeper = Keeper(bus, "t", "here")
    keeper.open()
    last, _ = await jetstream.newest(bus, LOG, SUBJECTS.everything)
    async with asyncio.timeout(PATIENCE):
        while not (newest := await step.newest(bus, "t")) or newest.last < last:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    done = await forgotten(bus, index)
    await keeper.close()

    report = await verify(bus, "t", Known())
    assert (report.findings, report.gone) == ([], {"erased": done.messages})
