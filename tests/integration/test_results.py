"""Waiting for the result of one task: from the message, or from the log if the message is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.message import AgentIdentity, AgentMessage, encode, new, new_id
from agentd.protocol.server_subjects import direct_get
from agentd.protocol.subjects import Subjects
from agentd.routing import results
from agentd.routing.accept import Acceptance, accept
from agentd.routing.eligibility import Directory
from agentd.routing.results import Waiter
from agentd.testing.chaos_proxy import ChaosProxy
from tests.waiting import PATIENCE, until

ME = AgentIdentity(id="echo", type="agent")
TO = Destination("echoing", "general")


@pytest.fixture(autouse=True)
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a reason makes a waiter look into the log, and not that some time has passed."""
    monkeypatch.setattr(results, "_LOOK", 10 * PATIENCE)


async def accepted(bus: Bus, subjects: Subjects, task: str) -> Acceptance:
    message = new("task", "hi", source=AgentIdentity(id="ci"), id=task)
    nobody = Directory(bus, subjects, may_wait=True)
    return await accept(bus, subjects, TO, message, by="ci", directory=nobody, once=False)


async def answer(bus: Bus, subjects: Subjects, task: str, data: object = "yes") -> None:
    result = new("result", {"success": True, "data": data}, source=ME)
    subject = subjects.result(TO.domain, TO.specificity, task)
    await jetstream.store(bus, subject, encode(result), message_id=new_id())


def data_of(result: AgentMessage | None) -> object:
    assert result
    return result.payload.content["data"]


async def test_a_result_that_arrives_is_not_searched(bus: Bus, subjects: Subjects) -> None:
    reads: list[bytes] = []
    listening = await bus.listen(f"{direct_get(LOG)}.>", lambda msg: reads.append(msg.data))
    waiter = Waiter(bus, subjects, task := new_id())
    async with waiter.subscribed():
        acceptance = await accepted(bus, subjects, task)
        getting = asyncio.create_task(waiter.get(PATIENCE, acceptance))
        await bus.fence()
        reads.clear()
        await answer(bus, subjects, task)
        assert data_of(await getting) == "yes"
    await bus.fence()
    await listening.close()
    assert reads == []


@pytest.fixture
async def proxied(nats_url: str) -> AsyncIterator[tuple[ChaosProxy, Bus]]:
    """A connection that can be broken."""
    at = urlsplit(nats_url)
    assert at.hostname
    assert at.port
    async with ChaosProxy(at.hostname, at.port) as proxy:
        url = f"nats://{at.username}@127.0.0.1:{proxy.port}"
        lossy = await Bus.connect({"servers": url}, timeout=PATIENCE)
        yield proxy, lossy
        await lossy.close()


async def test_a_result_that_was_lost_is_found_in_the_log(
    bus: Bus, subjects: Subjects, proxied: tuple[ChaosProxy, Bus]
) -> None:
    proxy, lossy = proxied
    waiter = Waiter(lossy, subjects, task := new_id())
    async with waiter.subscribed():
        acceptance = await accepted(lossy, subjects, task)
        getting = asyncio.create_task(waiter.get(PATIENCE, acceptance))
        await proxy.set(refuse=True)
        proxy.reset()
        await until(lambda: not lossy.connected)
        await answer(bus, subjects, task)
        await proxy.set()
        assert data_of(await getting) == "yes"


async def test_what_strangers_publish_there_is_no_result(bus: Bus, subjects: Subjects) -> None:
    """Also if there is more of it than a waiter keeps."""
    waiter = Waiter(bus, subjects, task := new_id())
    async with waiter.subscribed():
        acceptance = await accepted(bus, subjects, task)
        for number in range(100):
            await bus.publish(subjects.result("other", "x", task), b"%d" % number)
        await answer(bus, subjects, task)
        await bus.fence()
        assert data_of(await waiter.get(PATIENCE, acceptance)) == "yes"


async def test_there_is_no_result_in_time_or_after_giving_up(bus: Bus, subjects: Subjects) -> None:
    waiter = Waiter(bus, subjects, task := new_id())
    async with waiter.subscribed():
        acceptance = await accepted(bus, subjects, task)
        assert await waiter.get(0.05, acceptance) is None
        waiter.give_up()
        assert await waiter.get(PATIENCE, acceptance) is None
