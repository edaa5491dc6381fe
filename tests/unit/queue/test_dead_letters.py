"""The record of a dead letter: the original bytes, and why they could not be done."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest

from agentd.errors import TaskError, Undeliverable, UsageError
from agentd.nats import jetstream, objects
from agentd.nats.bus import Bus
from agentd.nats.streams import LOG
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue.dead_letters import DeadLetter, dead_letter, listed, original, send_again
from agentd.queue.delivery import Parcel
from tests.memory_bus import MemoryBus

SUBJECT = "agents.dev.task.analysis.x.7"


def parcel(**headers: str) -> Parcel:
    return Parcel(
        data=b"\xff original",
        headers=headers,
        subject=Subject.parse(SUBJECT),
        attempt=3,
        stored_at=1.0,
        sequence=42,
    )


async def made(error: str = "no time left", **headers: str) -> dict[str, str]:
    record = await dead_letter(
        cast("Bus", MemoryBus()),
        Subjects("dev"),
        parcel(**headers),
        reason="expired",
        error=Undeliverable(error, code="expired"),
        attempts=2,
        task_id="t1",
    )
    assert record.subject == "agents.dev.dlq.analysis.x"
    assert record.data == b"\xff original"
    assert record.message_id == ""  # somebody else could use it first
    return dict(record.headers)


async def test_it_has_the_bytes_and_says_why() -> None:
    assert await made() == {
        "Agentd-Reason": "expired",
        "Agentd-Error": "no time left",
        "Agentd-Subject": SUBJECT,
        "Agentd-Attempts": "2",
        "Agentd-Task": "t1",
    }


async def test_the_headers_of_the_sender_stay_and_those_of_the_server_go() -> None:
    headers = await made(**{"X-Own": "1", "traceparent": "00-a", "Nats-Msg-Id": "m"})

    assert (headers["X-Own"], headers["traceparent"]) == ("1", "00-a")
    assert "Nats-Msg-Id" not in headers


async def test_an_error_is_one_line_and_bounded() -> None:
    error = (await made("first\r\nNats-Rollup: all\n" + "x" * 5_000))["Agentd-Error"]

    assert error.startswith("first Nats-Rollup: all xxx")
    assert len(error) == 1_000


async def test_headers_that_are_too_many_to_repeat_are_left_out() -> None:
    headers = await made(**{f"X-{number}": "x" * 100 for number in range(100)})

    assert [name for name in headers if name.startswith("X-")] == []
    assert headers["Agentd-Task"] == "t1"


async def test_bytes_without_room_for_headers_become_an_object() -> None:
    bus = cast("Bus", MemoryBus(max_message=20_000))
    large = dataclasses.replace(parcel(**{"X-Own": "1"}), data=b"x" * 19_500)
    error = Undeliverable("no", code="expired")
    record = await dead_letter(
        bus, Subjects("dev"), large, reason="expired", error=error, attempts=1, task_id="t1"
    )
    assert record.data == b""
    await jetstream.store_all(bus, [record])

    [letter] = [each async for each in listed(bus, Subjects("dev"))]
    assert (letter.data, letter.headers["X-Own"]) == (b"", "1")
    assert await original(bus, letter) == b"x" * 19_500
    await send_again(bus, Subjects("dev"), letter)
    [sent] = cast("MemoryBus", bus).streams[LOG].on(SUBJECT)
    assert sent.data == b"x" * 19_500
    assert "Agentd-Object" not in sent.headers


async def test_a_letter_whose_object_is_gone_is_not_sent_again() -> None:
    memory = MemoryBus()
    bus = cast("Bus", memory)
    headers = {"Agentd-Object": objects.digest_of(b"gone"), "Agentd-Subject": SUBJECT}
    more = {"Agentd-Reason": "expired", "Agentd-Task": "t1"}
    await bus.request("agents.dev.dlq.analysis.x", b"", headers={**headers, **more})

    [letter] = [each async for each in listed(bus, Subjects("dev"))]
    with pytest.raises(TaskError, match="no longer exists"):
        await send_again(bus, Subjects("dev"), letter)
    assert memory.streams[LOG].on(SUBJECT) == []


@pytest.mark.parametrize(
    "subject",
    [
        "agents.dev.event.approval.t-2",
        "agents.dev.result.a.b.t",
        "agents.prod.task.a.b",
        "agents.dev.task.a.ü",
    ],
)
async def test_a_letter_of_a_stranger_is_not_published_on_another_subject(subject: str) -> None:
    memory = MemoryBus()
    bus = cast("Bus", memory)
    letter = DeadLetter(
        sequence=42,
        at="",
        task_id="t1",
        reason="expired",
        error="",
        attempts=1,
        published_to=subject,
        headers={},
        data=b"{}",
    )
    with pytest.raises(UsageError, match="dead letter 42 is no task"):
        await send_again(bus, Subjects("dev"), letter)
    assert memory.published == []
    await send_again(bus, Subjects("dev"), dataclasses.replace(letter, published_to=SUBJECT))
    assert SUBJECT in [each for each, _ in memory.published]
