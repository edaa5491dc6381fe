"""The record of a dead letter: the original bytes, and why they could not be done."""

from __future__ import annotations

from agentd.errors import Undeliverable
from agentd.protocol.subjects import Subject, Subjects
from agentd.queue.dead_letters import dead_letter
from agentd.queue.delivery import Parcel

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
    assert record.message_id == "dlq.42.t1"
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
