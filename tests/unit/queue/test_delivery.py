"""What a stored task says about itself, and how a delivery of it is settled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from agentd.errors import BusError, Unheard
from agentd.nats.bus import Bus, Msg
from agentd.queue.delivery import (
    LIFE,
    RESUMES,
    SENT_AGAIN,
    TASK,
    Delivery,
    Parcel,
    delivery,
    parcel,
)
from agentd.testing import virtual_time

SOURCE = {"Nats-Stream-Source": "AGENTD_LOG 7 > > agents.dev.task.analysis.x"}
REPLY = "$JS.ACK.AGENTD_WORK.dev+analysis+5.2.10.20.1700000000500000000.4"
COPY = {"Nats-Scheduler": "sched.dev.approval.t-1", "Nats-Schedule-Next": "purge"}
NEXT = {"Nats-Schedule-Next": "2026-11-30T07:00:00Z", "Nats-Scheduler": "sched.dev.agent.a"}


class Server:
    """The bus's port, with a server that answers what settles a delivery."""

    def __init__(self, *failures: BusError) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.failures = list(failures)
        self.waited = 0

    async def request(self, subject: str, data: bytes = b"", *, timeout: float = 5) -> Msg:
        self.requests.append((subject, data))
        if self.failures:
            raise self.failures.pop(0)
        return Msg(_client=cast("Any", None))

    async def until_connected(self, deadline: float | None = None) -> None:
        self.waited += 1


def stored(headers: Mapping[str, str] | None = None, *, attempt: int = 1) -> Parcel:
    return parcel(b"{}", {**SOURCE, **(headers or {})}, attempt=attempt, stored_at=1.5)


def delivered(server: Server, settled: list[str] | None = None) -> Delivery:
    settled = [] if settled is None else settled
    msg = Msg(_client=cast("Any", None), reply=REPLY, data=b"{}", headers=SOURCE)
    return delivery(msg, cast("Bus", server), settled.append, route="analysis")


def test_a_message_of_work_names_its_public_subject_and_its_place_in_the_log() -> None:
    taken = delivered(Server())
    assert str(taken.subject) == "agents.dev.task.analysis.x"
    assert (taken.sequence, taken.attempt, taken.stored_at) == (7, 2, 1_700_000_000.5)
    assert (taken.data, taken.headers, taken.route) == (b"{}", SOURCE, "analysis")


def test_a_fact_keeps_the_subject_and_the_sequence_of_its_own_stream() -> None:
    subject = "agents.dev.event.report.ready"
    reply = "$JS.ACK.AGENTD_LOG.facts.1.10.20.1700000000000000000.0"
    msg = Msg(_client=cast("Any", None), subject=subject, reply=reply, data=b"{}")
    fact = delivery(msg, cast("Bus", Server()), lambda _: None)
    assert str(fact.subject) == subject
    assert (fact.sequence, fact.attempt, fact.headers, fact.route) == (10, 1, {}, "")


def test_a_parcel_is_read_from_the_headers_of_a_stored_message() -> None:
    found = stored({"X": "y"}, attempt=3)
    assert (str(found.subject), found.sequence) == ("agents.dev.task.analysis.x", 7)
    assert (found.data, found.attempt, found.stored_at) == (b"{}", 3, 1.5)
    assert found.headers == {**SOURCE, "X": "y"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({TASK: "mine", "Nats-Msg-Id": "other"}, "mine"),
        ({"Nats-Msg-Id": "other"}, "other"),
        ({TASK: "not a token", "Nats-Msg-Id": "other"}, "other"),
    ],
)
def test_the_default_id_is_the_one_in_the_headers(headers: dict[str, str], expected: str) -> None:
    assert stored(headers).default_id == expected


def test_a_default_id_without_a_header_is_the_same_at_every_delivery_of_the_task() -> None:
    found = stored().default_id
    assert len(found) == 32
    assert stored(attempt=2).default_id == found
    later = parcel(b"{}", SOURCE, attempt=1, stored_at=2.5)
    other = {"Nats-Stream-Source": SOURCE["Nats-Stream-Source"].replace("7", "8")}
    assert later.default_id != found
    assert parcel(b"{}", other, attempt=1, stored_at=1.5).default_id != found


def test_a_task_that_its_schedule_sent_twice_has_one_default_id() -> None:
    found = stored(NEXT).default_id
    again = parcel(b"{}", {**SOURCE, **NEXT}, attempt=1, stored_at=99.0)
    assert again.default_id == found
    for other in (
        {"Nats-Schedule-Next": "2026-12-01T07:00:00Z"},
        {"Nats-Scheduler": "sched.dev.agent.b"},
        {"Agentd-Mark": "what only replicas know"},
    ):
        assert stored({**NEXT, **other}).default_id != found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"id": "mine", "payload": {"content": "x"}}', "mine"),
        (b'{"id": "mine", "payload": 5}', "mine"),
        (b'{"payload": {"content": "x"}}', "header"),
        (b"\xff", "header"),
    ],
)
def test_the_id_of_a_task_is_that_of_its_message(data: bytes, expected: str) -> None:
    headers = {**SOURCE, "Nats-Msg-Id": "header"}
    assert parcel(data, headers, attempt=1, stored_at=1.5).task_id == expected


def test_when_the_next_task_of_a_schedule_is_due() -> None:
    seven = datetime(2026, 11, 30, 7, tzinfo=UTC).timestamp()
    assert stored(NEXT).overtaken_at == seven
    assert stored().overtaken_at is None
    assert stored({"Nats-Schedule-Next": "purge"}).overtaken_at is None


def test_when_a_person_sent_a_dead_letter_again() -> None:
    assert stored({SENT_AGAIN: "12.5"}).sent_again_at == 12.5
    for wrong in ("soon", "nan", "inf", "-1", "1e300"):
        assert stored({SENT_AGAIN: wrong}).sent_again_at is None
    assert stored().sent_again_at is None


@pytest.mark.parametrize(
    ("headers", "attempt", "life", "resumes", "first"),
    [
        ({}, 1, 7, 0, True),
        ({}, 2, 7, 0, False),
        ({**COPY, LIFE: "7"}, 1, 7, 0, True),
        ({**COPY, LIFE: "3", RESUMES: "2"}, 1, 3, 2, False),
        ({**COPY, LIFE: "-3", RESUMES: "x"}, 1, 7, 0, True),
        ({LIFE: "3", RESUMES: "2"}, 1, 7, 0, True),  # of a sender, not of a schedule
    ],
)
def test_where_a_run_began_and_which_turn_it_resumes(
    headers: dict[str, str], attempt: int, life: int, resumes: int, first: bool
) -> None:
    found = stored(headers, attempt=attempt)
    assert (found.life, found.resumes, found.is_first) == (life, resumes, first)


def test_another_publish_keeps_the_senders_headers_and_the_id_of_the_task() -> None:
    own = {"traceparent": "t", "Agentd-Topic": "a.b"}
    transport = {"Nats-Msg-Id": "1", SENT_AGAIN: "2", LIFE: "3", RESUMES: "4", TASK: "old"}
    assert stored({**own, **transport}).headers_for("t-1") == {**own, TASK: "t-1"}


async def test_a_delivery_is_acknowledged_once() -> None:
    server, settled = Server(), list[str]()
    taken = delivered(server, settled)
    assert not taken.settled
    await taken.ack()
    assert taken.settled
    assert (server.requests, settled) == ([(REPLY, b"+ACK")], [REPLY])
    for settle in (taken.ack, taken.nak):
        with pytest.raises(RuntimeError, match="settled already"):
            await settle()
    assert (len(server.requests), settled) == (1, [REPLY])


@pytest.mark.parametrize(
    ("delay", "answer"),
    [(0.0, b"-NAK"), (1.5, b'-NAK {"delay": 1500000000}'), (30.0, b'-NAK {"delay": 30000000000}')],
)
async def test_a_delivery_is_handed_back_with_its_delay_in_nanoseconds(
    delay: float, answer: bytes
) -> None:
    server = Server()
    await delivered(server).nak(delay)
    assert server.requests == [(REPLY, answer)]


async def test_handing_back_without_a_delay_names_none() -> None:
    server = Server()
    await delivered(server).nak()
    assert server.requests == [(REPLY, b"-NAK")]


def test_settling_outlives_a_short_absence_of_the_server() -> None:
    async def acknowledge() -> float:
        server = Server(BusError("lost"), BusError("lost"))
        await delivered(server).ack()
        assert server.requests == [(REPLY, b"+ACK")] * 3
        assert server.waited == 2
        return asyncio.get_running_loop().time()

    assert virtual_time.run(acknowledge) == pytest.approx(0.2)


def test_an_acknowledgement_that_is_never_confirmed_is_an_error_after_five_seconds() -> None:
    async def acknowledge() -> float:
        server = Server(*[BusError("lost")] * 1000)
        with pytest.raises(BusError, match="not confirmed within 5 s"):
            await delivered(server).ack()
        return asyncio.get_running_loop().time()

    assert virtual_time.run(acknowledge) == pytest.approx(5.0, abs=0.2)


async def test_a_consumer_that_was_removed_confirms_nothing_and_is_not_asked_again() -> None:
    server = Server(Unheard("no consumer"))
    with pytest.raises(BusError):
        await delivered(server).ack()
    assert len(server.requests) == 1


async def test_handing_back_to_a_consumer_that_was_removed_is_no_error() -> None:
    server = Server(Unheard("no consumer"))
    await delivered(server).nak(2.0)
    [(_, answer)] = server.requests
    assert json.loads(answer.removeprefix(b"-NAK ")) == {"delay": 2_000_000_000}
