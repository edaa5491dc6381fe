"""What the bus promises, by the same assertions on the real server and on the bus in memory.

Tests elsewhere run on `MemoryBus`; they show something only as far as it does what the server does.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from agentd.errors import BusError, Conflict, NotStored, TooLarge, Unheard
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.jetstream import ApiError, Record
from agentd.nats.objects import BUCKET, STREAM
from agentd.nats.schedules import is_from_schedule
from agentd.nats.streams import AGENTS, LOG, SCHEDULES, STOPS
from agentd.protocol.server_subjects import bucket, object_entry, object_pieces
from agentd.protocol.stream_subjects import due
from agentd.protocol.subjects import Subjects
from tests.memory_bus import MemoryBus
from tests.waiting import until

ID, EXPECTED = "Nats-Msg-Id", "Nats-Expected-Last-Subject-Sequence"
CREATE = {EXPECTED: "0"}


@pytest.fixture(params=["server", "memory"])
def bus(request: pytest.FixtureRequest) -> Bus:
    if request.param == "server":
        return request.getfixturevalue("bus")  # the one of conftest.py
    return cast("Bus", MemoryBus())


class Inbox:
    """What a subscription receives."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Msg] = asyncio.Queue()

    async def receive(self, msg: Msg) -> None:
        await self.messages.put(msg)

    async def next(self) -> Msg:
        return await asyncio.wait_for(self.messages.get(), 5)

    @property
    def is_empty(self) -> bool:
        return self.messages.empty()


def new_id() -> str:
    """An id that no other message of the stream has."""
    return secrets.token_hex(8)


async def publish_raw(bus: Bus, subject: str, headers: Mapping[str, str]) -> tuple[int, int | None]:
    """The sequence and the error code of an acknowledgement, without the retries of `store`."""
    ack = json.loads((await bus.request(subject, headers=headers)).data)
    return ack.get("seq", 0), ack.get("error", {}).get("err_code")


async def publish_batch(
    bus: Bus, messages: Sequence[tuple[str, Mapping[str, str]]], *, skip: int | None = None
) -> int | None:
    """The error code with which the server answers an atomic batch; None if it is stored."""
    batch = new_id()
    for number, (subject, headers) in enumerate(messages, 1):
        of_batch = {**headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
        if number < len(messages):
            if number != skip:
                await bus.publish(subject, b"", headers=of_batch)
            continue
        commit = {**of_batch, "Nats-Batch-Commit": "1"}
        answer = json.loads((await bus.request(subject, b"", headers=commit)).data)
        return answer.get("error", {}).get("err_code")
    raise AssertionError("a batch has messages")


# --- messages -------------------------------------------------------------------------------------


async def test_a_subscriber_receives_a_message_as_it_was_sent(bus: Bus) -> None:
    inbox = Inbox()
    subject = bus.new_inbox()
    await bus.subscribe(f"{subject}.*", inbox.receive)
    await bus.fence()
    await bus.publish(f"{subject}.a", b"one", headers={"Some-Header": "wért"}, reply="answer.here")
    await bus.publish(f"{subject}.a.b", b"too deep")
    await bus.publish(f"{subject}.b", b"two")

    first, second = await inbox.next(), await inbox.next()
    assert (first.subject, first.reply, first.data) == (f"{subject}.a", "answer.here", b"one")
    assert first.headers == {"Some-Header": "wért"}
    assert (second.subject, second.reply, second.headers) == (f"{subject}.b", "", None)
    assert second.data == b"two"


async def test_one_member_of_a_queue_group_receives_a_message(bus: Bus) -> None:
    members, everybody = Inbox(), Inbox()
    subject = bus.new_inbox()
    for _ in range(2):
        await bus.subscribe(subject, members.receive, "group")
    await bus.subscribe(subject, everybody.receive)
    await bus.fence()
    await bus.publish(subject, b"one")
    await bus.publish(subject, b"two")

    assert [(await everybody.next()).data, (await everybody.next()).data] == [b"one", b"two"]
    assert {(await members.next()).data, (await members.next()).data} == {b"one", b"two"}
    assert members.is_empty


async def test_a_closed_subscription_receives_nothing(bus: Bus) -> None:
    closed, open_ = Inbox(), Inbox()
    subject = bus.new_inbox()
    subscription = await bus.subscribe(subject, closed.receive)
    await bus.subscribe(subject, open_.receive)
    await subscription.close()
    await subscription.close()
    await bus.fence()
    await bus.publish(subject, b"one")

    assert (await open_.next()).data == b"one"
    assert closed.is_empty


async def test_a_handler_gets_one_message_at_a_time(bus: Bus) -> None:
    running = most = 0
    done: asyncio.Queue[bytes] = asyncio.Queue()

    async def handle(msg: Msg) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        await done.put(msg.data)

    subject = bus.new_inbox()
    await bus.subscribe(subject, handle)
    await bus.fence()
    for data in (b"1", b"2", b"3"):
        await bus.publish(subject, data)

    assert [await asyncio.wait_for(done.get(), 5) for _ in range(3)] == [b"1", b"2", b"3"]
    assert most == 1


async def test_a_handler_must_be_a_coroutine_function(bus: Bus) -> None:
    with pytest.raises(BusError, match="coroutine"):
        await bus.subscribe(bus.new_inbox(), lambda msg: asyncio.sleep(0))


async def test_a_handler_that_raises_gets_the_next_message(bus: Bus) -> None:
    inbox = Inbox()

    async def handle(msg: Msg) -> None:
        await inbox.receive(msg)
        raise RuntimeError("a bug")

    subject = bus.new_inbox()
    await bus.subscribe(subject, handle)
    await bus.fence()
    await bus.publish(subject, b"one")
    await bus.publish(subject, b"two")

    assert [(await inbox.next()).data, (await inbox.next()).data] == [b"one", b"two"]


async def test_a_request_returns_the_first_answer(bus: Bus) -> None:
    async def answer(msg: Msg) -> None:
        await bus.publish(msg.reply, b"first " + msg.data, headers={"Some-Header": "x"})
        await bus.publish(msg.reply, b"second")

    subject = bus.new_inbox()
    await bus.subscribe(subject, answer)
    await bus.fence()
    first = await bus.request(subject, b"question")

    assert first.data == b"first question"
    assert first.headers == {"Some-Header": "x"}
    assert (await bus.request(subject, b"again")).data == b"first again"


async def test_an_answer_that_is_not_accepted_is_not_the_answer(bus: Bus) -> None:
    """Whoever subscribes to a subject can answer what is published there, before the server."""
    subject = f"ask.{new_id()}"

    async def answer(msg: Msg) -> None:
        for number in (b"", b"1", b"2", b"3"):
            await bus.publish(msg.reply, number)

    await bus.subscribe(subject, answer)
    await bus.fence()
    answered = await bus.request(subject, b"?", accept=lambda msg: msg.data > b"1")
    assert answered.data == b"2"


async def test_a_request_without_a_responder_is_unheard(bus: Bus) -> None:
    with pytest.raises(Unheard, match="no subscription and no stream"):
        await bus.request(bus.new_inbox())


async def test_a_request_without_an_answer_ends_with_its_timeout(bus: Bus) -> None:
    subject = bus.new_inbox()
    await bus.subscribe(subject, Inbox().receive)
    await bus.fence()
    with pytest.raises(BusError, match=r"no answer within 0\.05 s"):
        await bus.request(subject, timeout=0.05)


async def test_the_size_limit_counts_the_headers_exactly(bus: Bus) -> None:
    headers = {"Some-Header": "wért", "B": ""}
    lines = sum(len(k) + len(v.encode()) + 4 for k, v in headers.items())
    room = bus.max_message - len(b"NATS/1.0\r\n\r\n") - lines
    inbox = Inbox()
    subject = bus.new_inbox()
    await bus.subscribe(subject, inbox.receive)
    await bus.fence()
    await bus.publish(subject, b"x" * room, headers=headers)
    assert len((await inbox.next()).data) == room

    with pytest.raises(TooLarge) as caught:
        await bus.publish(subject, b"x" * (room + 1), headers=headers)
    assert caught.value.size == caught.value.limit + 1 == bus.max_message + 1
    await bus.publish(subject, b"x" * bus.max_message)
    with pytest.raises(TooLarge):
        await bus.request(subject, b"x" * (bus.max_message + 1))
    assert bus.connected


# --- messages that are stored ---------------------------------------------------------------------


async def test_a_stored_message_is_the_last_of_its_subject(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.result("a", "b", "c")
    headers = {"traceparent": "x"}
    first = await jetstream.store(bus, subject, b"one", message_id="1", headers=headers)
    assert await jetstream.store(bus, subject, b"two", message_id="2", headers=headers) > first

    last = await jetstream.last(bus, LOG, subject)
    assert last is not None
    assert last.data == b"two"
    stored = last.headers or {}
    assert stored["traceparent"] == "x"
    assert stored["Nats-Msg-Id"] == f"2.{subjects.env}"
    assert (stored["Nats-Stream"], stored["Nats-Subject"]) == (LOG, subject)
    assert int(stored["Nats-Sequence"]) > first
    assert stored["Nats-Time-Stamp"].endswith("Z")


async def test_a_subject_without_messages_has_no_last_one(bus: Bus, subjects: Subjects) -> None:
    assert await jetstream.last(bus, LOG, subjects.result("a", "b", "c")) is None
    assert await jetstream.newest(bus, LOG, subjects.result("a", "b", "c")) == (0, b"")


async def test_the_newest_message_is_the_one_that_last_returns(
    bus: Bus, subjects: Subjects
) -> None:
    subject = subjects.event("a", "b")
    await jetstream.store(bus, subject, b"one", message_id="1")
    sequence = await jetstream.store(bus, subject, b"two", message_id="2")

    assert await jetstream.newest(bus, LOG, subject) == (sequence, b"two")


async def test_a_subscriber_receives_a_stored_message_too(bus: Bus, subjects: Subjects) -> None:
    inbox = Inbox()
    await bus.subscribe(subjects.event("a", "b"), inbox.receive)
    await bus.fence()
    await jetstream.store(bus, subjects.event("a", "b"), b"one", message_id="1")

    assert (await inbox.next()).data == b"one"


async def test_a_subject_without_a_stream_is_not_stored(bus: Bus, subjects: Subjects) -> None:
    too_deep = f"{subjects.task('a', 'b')}.urgent"
    with pytest.raises(NotStored, match="no subscription and no stream"):
        await jetstream.store(bus, too_deep, b"x", message_id="1")


async def test_a_message_id_is_stored_once(bus: Bus, subjects: Subjects) -> None:
    """Once in the whole stream, and so on any subject."""
    subject = subjects.event("a", "b")
    first = await jetstream.store(bus, subject, b"one", message_id="1")
    assert await jetstream.store(bus, subject, b"again", message_id="1") == first
    assert await jetstream.store(bus, subjects.event("a", "c"), b"x", message_id="1") == first

    found = [m.data async for m in jetstream.stored(bus, LOG, subjects.pattern("event.>"))]
    assert found == [b"one"]


async def test_a_message_that_exists_is_not_created_again(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.result("a", "b", "c")
    await jetstream.store(bus, subject, b"one", message_id="1", after=0)
    with pytest.raises(Conflict):
        await jetstream.store(bus, subject, b"two", message_id="2", after=0)

    assert await publish_raw(bus, subject, {ID: new_id(), **CREATE}) == (0, 10071)
    last = await jetstream.last(bus, LOG, subject)
    assert last is not None
    assert last.data == b"one"


async def test_the_server_looks_for_a_conflict_before_it_looks_at_the_id(
    bus: Bus, subjects: Subjects
) -> None:
    """So a retry of a create that was stored is a conflict, and not a duplicate."""
    subject, known = subjects.result("a", "b", "c"), new_id()
    sequence, error = await publish_raw(bus, subject, {ID: known, **CREATE})
    assert error is None

    assert await publish_raw(bus, subject, {ID: known, **CREATE}) == (0, 10071)
    other = subjects.result("a", "b", "other")
    assert await publish_raw(bus, other, {ID: known, **CREATE}) == (sequence, None)


async def test_a_message_replaces_the_one_that_was_read(bus: Bus, env: str) -> None:
    subject = bucket(STOPS, env, "key")
    first = await jetstream.replace(bus, subject, b"one", after=0)
    second = await jetstream.replace(bus, subject, b"two", after=first)
    for outdated in (0, first, second + 1):
        with pytest.raises(Conflict):
            await jetstream.replace(bus, subject, b"three", after=outdated)

    assert await jetstream.newest(bus, STOPS, subject) == (second, b"two")


async def test_a_message_may_depend_on_another_subject(bus: Bus, subjects: Subjects) -> None:
    other = subjects.event("a", "other")
    sequence = await jetstream.store(bus, other, b"", message_id="1")
    on_other = {f"{EXPECTED}-Subject": other}
    subject = subjects.event("a", "b")

    assert await publish_raw(bus, subject, {**CREATE, **on_other}) == (0, 10071)
    _, error = await publish_raw(bus, subject, {EXPECTED: str(sequence), **on_other})
    assert error is None


async def test_a_key_of_a_bucket_has_one_message(bus: Bus, env: str) -> None:
    key, pattern = bucket(AGENTS, env, "me"), bucket(AGENTS, env, "*")
    for data, headers in ((b"one", None), (b"two", None), (b"", {"KV-Operation": "DEL"})):
        await bus.request(key, data, headers=headers)
        found = [msg async for msg in jetstream.stored(bus, AGENTS, pattern)]
        assert [msg.data for msg in found] == [data]
        assert [(msg.headers or {})["Nats-Subject"] for msg in found] == [key]


# --- atomic batches -------------------------------------------------------------------------------


def records(subjects: Subjects, *names: str) -> list[Record]:
    """Records of which the first is created."""
    return [
        Record(
            subject=subjects.result("a", "b", name),
            data=name.encode(),
            message_id=name,
            after=None if number else 0,
        )
        for number, name in enumerate(names)
    ]


async def results(bus: Bus, subjects: Subjects) -> list[bytes]:
    found = jetstream.stored(bus, LOG, subjects.pattern("result.>"))
    return [msg.data async for msg in found]


async def test_a_batch_is_stored_in_one_piece(bus: Bus, subjects: Subjects) -> None:
    await jetstream.store_all(bus, records(subjects, "one", "two", "three"))

    assert await results(bus, subjects) == [b"one", b"two", b"three"]
    found = [m async for m in jetstream.stored(bus, LOG, subjects.pattern("result.>"))]
    sequences = [int((msg.headers or {})["Nats-Sequence"]) for msg in found]
    assert sequences == [sequences[0], sequences[0] + 1, sequences[0] + 2]


async def test_a_batch_with_a_conflict_stores_nothing(bus: Bus, subjects: Subjects) -> None:
    await jetstream.store_all(bus, records(subjects, "one", "two"))
    with pytest.raises(Conflict):
        await jetstream.store_all(bus, records(subjects, "one", "three"))

    taken = (subjects.result("a", "b", "two"), CREATE)
    free = (subjects.result("a", "b", "four"), CREATE)
    assert await publish_batch(bus, [free, taken]) == 10071
    assert await results(bus, subjects) == [b"one", b"two"]


async def test_a_batch_with_a_known_id_stores_nothing(bus: Bus, subjects: Subjects) -> None:
    known, new = {ID: new_id()}, {ID: new_id()}
    one, two = subjects.result("a", "b", "one"), subjects.result("a", "b", "two")
    await bus.request(one, b"one", headers=known)

    assert await publish_batch(bus, [(two, known), (two, {})]) == 10201
    assert await publish_batch(bus, [(two, new), (two, new)]) == 10201
    assert await results(bus, subjects) == [b"one"]
    assert await publish_batch(bus, [(two, new), (two, {})]) is None


async def test_an_incomplete_batch_stores_nothing(bus: Bus, subjects: Subjects) -> None:
    messages = [(subjects.result("a", "b", str(number)), {}) for number in range(3)]

    assert await publish_batch(bus, messages, skip=1) == 10176
    assert await publish_batch(bus, messages, skip=2) == 10176
    assert await results(bus, subjects) == []


async def test_a_batch_is_not_visible_before_its_last_message(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.result("a", "b", "one")
    first = {"Nats-Batch-Id": new_id(), "Nats-Batch-Sequence": "1"}
    answer = await bus.request(subject, b"one", headers=first)

    assert answer.data == b""
    assert await results(bus, subjects) == []


async def test_a_bucket_takes_no_batches(bus: Bus, env: str) -> None:
    keys = [(bucket(AGENTS, env, name), {}) for name in ("a", "b")]

    assert await publish_batch(bus, keys) == 10174


# --- reading and deleting -------------------------------------------------------------------------


async def test_stored_messages_are_read_in_order_in_several_batches(
    bus: Bus, subjects: Subjects
) -> None:
    for number in range(600):
        subject = subjects.event("many", f"n{number % 3}")
        await jetstream.store(bus, subject, str(number).encode(), message_id=str(number))
    await jetstream.store(bus, subjects.event("other", "n0"), b"", message_id="other")

    pattern = subjects.pattern("event.many.*")
    found = [msg async for msg in jetstream.stored(bus, LOG, pattern)]
    assert [int(msg.data) for msg in found] == list(range(600))
    middle = int((found[400].headers or {})["Nats-Sequence"])
    later = [int(m.data) async for m in jetstream.stored(bus, LOG, pattern, start=middle)]
    assert later == list(range(400, 600))


async def test_a_pattern_without_messages_is_read_as_nothing(bus: Bus, subjects: Subjects) -> None:
    assert [msg async for msg in jetstream.stored(bus, LOG, subjects.pattern("event.>"))] == []


async def test_a_stream_that_does_not_exist_is_read_as_nothing(
    bus: Bus, subjects: Subjects
) -> None:
    assert [msg async for msg in jetstream.stored(bus, "NOPE", subjects.pattern("event.>"))] == []
    with pytest.raises(Unheard):
        await jetstream.last(bus, "NOPE", subjects.event("a", "b"))


async def test_a_deleted_message_makes_room_for_the_one_before(
    bus: Bus, subjects: Subjects
) -> None:
    subject = subjects.event("a", "b")
    first = await jetstream.store(bus, subject, b"one", message_id="1")
    second = await jetstream.store(bus, subject, b"two", message_id="2")
    for _ in range(2):  # to delete it again is no error
        await jetstream.delete(bus, LOG, second)

    assert await jetstream.newest(bus, LOG, subject) == (first, b"one")
    await jetstream.delete(bus, LOG, first)
    assert await jetstream.last(bus, LOG, subject) is None


async def test_a_purge_counts_what_it_removes(bus: Bus, subjects: Subjects) -> None:
    first, second = (subjects.schedule("message", name) for name in ("a", "b"))
    for subject in (first, second):
        await jetstream.store(bus, subject, b"", message_id=subject)
    purge = {"filter": first}

    assert (await jetstream.api(bus, f"STREAM.PURGE.{SCHEDULES}", purge))["purged"] == 1
    assert (await jetstream.api(bus, f"STREAM.PURGE.{SCHEDULES}", purge))["purged"] == 0
    assert await jetstream.last(bus, SCHEDULES, second) is not None


async def test_the_log_copies_what_is_due_whatever_it_expected(
    bus: Bus, subjects: Subjects
) -> None:
    subject, entry = subjects.task("a", "b"), subjects.schedule("message", "x")
    after = await jetstream.store(bus, entry, b"", message_id="1")
    await jetstream.store(bus, subject, b"one", message_id="2")
    expected = {"Nats-Expected-Last-Subject-Sequence-Subject": entry, "X-Own": "1"}
    await jetstream.replace(bus, due(subject), b"two", after=after, headers=expected)

    async with asyncio.timeout(20):
        while (await jetstream.newest(bus, LOG, subject))[1] != b"two":  # noqa: ASYNC110 (of the server)
            await asyncio.sleep(0.02)
    copy = await jetstream.last(bus, LOG, subject)
    assert copy is not None
    assert (copy.headers or {})["X-Own"] == "1"
    assert is_from_schedule(copy)


async def test_a_message_is_read_by_its_sequence(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.event("a", "b")
    sequence = await jetstream.store(bus, subject, b"one", message_id="1")
    read = f"STREAM.MSG.GET.{LOG}"
    found = (await jetstream.api(bus, read, {"seq": sequence}))["message"]

    assert (found["subject"], found["seq"], found["data"]) == (subject, sequence, "b25l")
    await jetstream.delete(bus, LOG, sequence)
    with pytest.raises(ApiError) as caught:
        await jetstream.api(bus, read, {"seq": sequence})
    assert caught.value.code == 10037


async def test_the_state_of_a_stream_counts_by_subject(bus: Bus, subjects: Subjects) -> None:
    for number in range(3):
        subject = subjects.event("a", f"n{number % 2}")
        await jetstream.store(bus, subject, b"", message_id=str(number))

    async def counted(rest: str) -> dict[str, int] | None:
        request = {"subjects_filter": subjects.pattern(rest)}
        return (await jetstream.api(bus, f"STREAM.INFO.{LOG}", request))["state"].get("subjects")

    assert await counted("event.a.*") == {
        subjects.event("a", "n0"): 2,
        subjects.event("a", "n1"): 1,
    }
    assert await counted("event.b.*") is None


async def test_the_streams_of_a_subject_are_named(bus: Bus, subjects: Subjects) -> None:
    async def names(subject: str) -> list[str] | None:
        return (await jetstream.api(bus, "STREAM.NAMES", {"subject": subject}))["streams"]

    assert await names(subjects.event("a", "b")) == [LOG]
    assert await names("nobody.takes.this") is None


async def test_an_api_error_carries_the_servers_code(bus: Bus) -> None:
    with pytest.raises(ApiError) as caught:
        await jetstream.api(bus, "STREAM.INFO.NOPE")
    assert caught.value.code == 10059


# --- objects --------------------------------------------------------------------------------------


async def test_the_pieces_of_an_object_are_read_one_after_the_other(bus: Bus) -> None:
    subject = object_pieces(BUCKET, new_id())
    first = await jetstream.store(bus, subject, b"one", message_id=new_id())
    second = await jetstream.store(bus, subject, b"two", message_id=new_id())

    assert await jetstream.next_after(bus, STREAM, subject, 0) == (first, b"one")
    assert await jetstream.next_after(bus, STREAM, subject, first) == (second, b"two")
    assert await jetstream.next_after(bus, STREAM, subject, second) == (0, b"")


async def test_an_entry_replaces_the_one_before(bus: Bus) -> None:
    subject, rollup = object_entry(BUCKET, new_id()), {"Nats-Rollup": "sub"}
    for data in (b"one", b"two"):
        await jetstream.store(bus, subject, data, message_id=new_id(), headers=rollup)

    found = [msg.data async for msg in jetstream.stored(bus, STREAM, subject)]
    assert found == [b"two"]


async def test_a_listener_is_called_for_each_message_until_it_is_closed(bus: Bus) -> None:
    got: list[bytes] = []
    subject = bus.new_inbox()
    subscription = await bus.listen(subject, lambda msg: got.append(msg.data))
    await bus.fence()
    await bus.publish(subject, b"one")
    await bus.publish(subject, b"two")
    await until(lambda: len(got) == 2)
    await subscription.close()
    await bus.publish(subject, b"three")
    await bus.fence()

    assert got == [b"one", b"two"]
