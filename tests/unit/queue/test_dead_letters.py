"""The record of a dead letter: the original bytes, and why they could not be done."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest

from agentd.errors import Undeliverable, UsageError
from agentd.nats.bus import Bus
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue.dead_letters import DeadLetter, dead_letter, send_again
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


def made(error: str = "no time left", **headers: str) -> dict[str, str]:
    record = dead_letter(
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


def test_it_has_the_bytes_and_says_why() -> None:
    assert made() == {
        "Agentd-Reason": "expired",
        "Agentd-Error": "no time left",
        "Agentd-Subject": SUBJECT,
        "Agentd-Attempts": "2",
        "Agentd-Task": "t1",
    }


def test_the_headers_of_the_sender_stay_and_those_of_the_server_go() -> None:
    headers = made(**{"X-Own": "1", "traceparent": "00-a", "Nats-Msg-Id": "m"})

    assert (headers["X-Own"], headers["traceparent"]) == ("1", "00-a")
    assert "Nats-Msg-Id" not in headers


def test_an_error_is_one_line_and_bounded() -> None:
    error = made("first\r\nNats-Rollup: all\n" + "x" * 5_000)["Agentd-Error"]

    assert error.startswith("first Nats-Rollup: all xxx")
    assert len(error) == 1_000


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
