"""The queue on a real server: order, sharing, handing back, and what the doorbell misses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import WORK
from agentd.protocol.server_subjects import next_message
from agentd.protocol.subjects import Subjects
from agentd.queue.delivery import Delivery
from agentd.queue.queue import Puller, Queue


@pytest.fixture
async def queue(bus: Bus, subjects: Subjects) -> AsyncIterator[Queue]:
    queue = Queue(bus, subjects)
    await queue.open()
    yield queue
    await queue.close()


async def put(bus: Bus, subject: str, name: str) -> None:
    await jetstream.store(bus, subject, name.encode(), message_id=f"{subject}-{name}")


async def take(puller: Puller, most: int = 1) -> list[Delivery]:
    return await asyncio.wait_for(puller.pull(most), 10)


async def listening(queue: Queue, *routes: str) -> Puller:
    puller = queue.puller()
    await puller.listen(routes)
    return puller


async def test_a_task_that_waits_and_one_that_rings(
    bus: Bus, queue: Queue, subjects: Subjects
) -> None:
    await put(bus, subjects.task("analysis", "text"), "early")
    puller = await listening(queue, "analysis")
    [early] = await take(puller)
    assert (early.data, early.attempt) == (b"early", 1)
    assert early.subject.specificity == "text"
    await early.ack()
    waiting = asyncio.create_task(puller.pull(1))
    await asyncio.sleep(0.05)
    await put(bus, subjects.task("analysis", "text"), "late")
    [late] = await asyncio.wait_for(waiting, 5)
    assert late.data == b"late"
    await late.ack()


async def test_the_most_urgent_comes_first(bus: Bus, queue: Queue, subjects: Subjects) -> None:
    for i, priority in enumerate((0, 9, 5, 3, 9, 0)):
        await put(bus, subjects.task("analysis", "x", priority), f"{priority}{i}")
    await put(bus, subjects.task_for("me", 7), "7")
    puller = await listening(queue, "analysis", "_agent.me")
    order: list[str] = []
    while len(order) < 7:
        for delivery in await take(puller):
            order.append(delivery.data.decode())
            await delivery.ack()
    assert order == ["91", "94", "7", "52", "33", "00", "05"]


async def test_the_least_urgent_is_not_starved(bus: Bus, queue: Queue, subjects: Subjects) -> None:
    await put(bus, subjects.task("analysis", "x", 0), "humble")
    for i in range(200):
        await put(bus, subjects.task("analysis", "x", 9), f"urgent{i}")
    puller = await listening(queue, "analysis")
    taken: list[bytes] = []
    while b"humble" not in taken:
        for delivery in await take(puller):
            taken.append(delivery.data)
            await delivery.ack()
    assert len(taken) < 200


async def test_never_more_than_asked_for(bus: Bus, queue: Queue, subjects: Subjects) -> None:
    for i in range(10):
        await put(bus, subjects.task("analysis", "x"), f"{i}")
    puller = await listening(queue, "analysis")
    taken = await take(puller, most=4)
    assert len(taken) == 4
    info = await jetstream.api(bus, f"CONSUMER.INFO.{WORK}.{subjects.env}+analysis+5")
    assert (info["num_ack_pending"], info["num_pending"]) == (4, 6)
    for delivery in taken:
        await delivery.ack()


async def test_two_feeds_share_without_overlap(bus: Bus, queue: Queue, subjects: Subjects) -> None:
    pullers = [await listening(queue, "analysis") for _ in range(2)]
    taken: list[bytes] = []
    all_taken = asyncio.Event()

    async def work(puller: Puller) -> None:
        while deliveries := await puller.pull(2):
            for delivery in deliveries:
                taken.append(delivery.data)
                await delivery.ack()
            if len(taken) == 100:
                all_taken.set()

    workers = [asyncio.create_task(work(puller)) for puller in pullers]
    for i in range(100):
        await put(bus, subjects.task("analysis", "x"), f"{i}")
    await asyncio.wait_for(all_taken.wait(), 10)
    for puller in pullers:
        await puller.close()
    await asyncio.gather(*workers)
    assert len(set(taken)) == len(taken) == 100


async def test_what_is_handed_back_comes_again(bus: Bus, queue: Queue, subjects: Subjects) -> None:
    await put(bus, subjects.task("analysis", "x"), "again")
    puller = await listening(queue, "analysis")
    [first] = await take(puller)
    await first.nak()
    await queue.sweep()
    [second] = await take(puller)
    assert (second.data, second.attempt) == (b"again", 2)
    assert second.default_id == first.default_id
    await second.ack()


async def test_a_delivery_is_settled_once(bus: Bus, queue: Queue, subjects: Subjects) -> None:
    await put(bus, subjects.task("analysis", "x"), "once")
    [delivery] = await take(await listening(queue, "analysis"))
    await delivery.ack()
    with pytest.raises(RuntimeError, match="settled already"):
        await delivery.nak()


async def test_a_consumer_that_was_deleted_is_made_again(
    bus: Bus, queue: Queue, subjects: Subjects
) -> None:
    puller = await listening(queue, "analysis")
    await put(bus, subjects.task("analysis", "x"), "one")
    [one] = await take(puller)
    await one.ack()
    await jetstream.api(bus, f"CONSUMER.DELETE.{WORK}.{subjects.env}+analysis+5")
    await put(bus, subjects.task("analysis", "x"), "two")
    [two] = await take(puller)
    assert two.data == b"two"
    await two.ack()


async def test_closing_ends_a_waiting_pull(queue: Queue) -> None:
    puller = await listening(queue, "analysis")
    waiting = asyncio.create_task(puller.pull(1))
    await asyncio.sleep(0.05)
    await puller.close()
    assert await asyncio.wait_for(waiting, 5) == []


async def test_a_default_id_is_a_valid_token_and_stays(
    bus: Bus, queue: Queue, subjects: Subjects
) -> None:
    """A sender without a Nats-Msg-Id header: the id comes from its place in the log."""
    await bus.request(subjects.task("analysis", "x"), b"{}")
    [delivery] = await take(await listening(queue, "analysis"))
    assert len(delivery.default_id) == 32
    await delivery.ack()


async def test_a_band_that_rang_for_nothing_is_looked_at_a_few_times_more(
    bus: Bus, queue: Queue, subjects: Subjects
) -> None:
    """The server may ring before its consumer knows of the task."""
    looks: asyncio.Queue[Msg] = asyncio.Queue()
    asked_for = next_message(WORK, f"{subjects.env}+analysis+5")
    await bus.subscribe(asked_for, looks.put)
    puller = await listening(queue, "analysis")
    waiting = asyncio.create_task(puller.pull(1))

    await bus.publish(f"ring.{subjects.env}.analysis.x.5", b"")

    for _ in range(4):
        await asyncio.wait_for(looks.get(), 10)
    await asyncio.sleep(0.7)
    assert looks.empty()
    await puller.close()
    assert await waiting == []
