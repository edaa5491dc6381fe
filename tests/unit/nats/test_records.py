"""A record that cannot be read costs a warning that names it, once, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator

import pytest

from agentd.errors import BusError, DecodeError
from agentd.nats import records
from agentd.nats.bus import Msg
from agentd.nats.records import (
    Newest,
    Room,
    headers_in,
    report_skipped,
    shortlist,
    skipped,
    skipping,
)
from tests.memory_bus import message


def record(subject: str, sequence: int) -> Msg:
    return message(b"{}", {"Nats-Subject": subject, "Nats-Sequence": str(sequence)})


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_each_unreadable_record_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        for sequence in (7, 8):
            with skipping("A_BUCKET", record("$KV.a.b", sequence)):
                raise DecodeError("not JSON")

    assert warnings(caplog) == [
        "A_BUCKET: $KV.a.b, sequence 7 is skipped: not JSON",
        "A_BUCKET: $KV.a.b, sequence 8 is skipped: not JSON",
    ]


def test_a_bug_is_named_with_its_kind_and_long_texts_are_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    skipped("A_STREAM", "s" * 5000, KeyError("x" * 5000))

    [text] = warnings(caplog)
    assert text.startswith("A_STREAM: ssss")
    assert ": KeyError: 'xxx" in text
    assert len(text) < 500


def test_a_message_that_was_not_stored_is_named_by_its_subject(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with skipping("A_BUCKET", message(b"", None, "$KV.a.live")):
        raise RecursionError

    assert warnings(caplog) == ["A_BUCKET: $KV.a.live is skipped: RecursionError: "]


def skip_many(number: int) -> None:
    for sequence in range(number):
        skipped("A_BUCKET", "$KV.a.b", DecodeError("no"), sequence)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Each test begins in a new minute."""
    records.forget()


def test_of_many_records_the_first_are_named_and_the_others_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    skip_many(1_000)
    assert len(warnings(caplog)) == 10
    skipped("ANOTHER", "x", DecodeError("no"))
    report_skipped()
    report_skipped()
    *_, other, rest = warnings(caplog)
    assert other == "ANOTHER: x is skipped: no"
    assert rest == "A_BUCKET: 990 more records are skipped"


def test_a_minute_later_the_count_is_logged_and_records_are_named_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_WINDOW", 0.05)

    async def a_minute() -> None:
        skip_many(12)
        await asyncio.sleep(0.2)

    asyncio.run(a_minute())
    assert warnings(caplog)[-1] == "A_BUCKET: 2 more records are skipped"
    skipped("A_BUCKET", "later", DecodeError("no"))
    assert warnings(caplog)[-1] == "A_BUCKET: later is skipped: no"


def test_a_server_that_does_not_answer_is_no_mistake_of_the_record() -> None:
    with pytest.raises(BusError), skipping("A_BUCKET", record("$KV.a.c", 1)):
        raise BusError("no server")


@pytest.mark.parametrize("room", [Room(records=2), Room(size=25)])
def test_records_are_read_as_long_as_there_is_room(room: Room) -> None:
    room.take(10)
    room.take(10)
    with pytest.raises(DecodeError, match="more records, or larger ones"):
        room.take(10)


def test_of_too_many_records_the_newest_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    few, small = Newest("A_BUCKET", records=3), Newest("B_BUCKET", size=8)
    for sequence in range(5):
        few.add(record("$KV.a.b", sequence))
        small.add(record("$KV.a.b", sequence))
    sequences = [(msg.headers or {})["Nats-Sequence"] for msg in few]
    assert sequences == ["2", "3", "4"]
    assert len(list(small)) == 4  # of two bytes each
    assert "A_BUCKET: $KV.a.b, sequence 1 is skipped: there are more records" in caplog.text


@pytest.mark.parametrize(
    ("records", "room", "first"),
    [
        (3, 10**6, [1, 2, 3]),
        (1_000, 250, [1, 2]),
        (1_000, 10, [1]),
        (1_000, 10**6, [*range(1, 51)]),
    ],
)
async def test_a_list_has_the_first_records_and_the_number_of_all(
    records: int, room: int, first: list[int]
) -> None:
    async def found() -> AsyncIterator[int]:
        for number in range(50, 0, -1):
            yield number

    kept, total = await shortlist(
        found(), lambda each: each, lambda _: 100, records=records, room=room
    )

    assert (kept, total) == (first, 50)


def test_the_headers_of_a_message_that_is_read_by_its_sequence() -> None:
    block = b"NATS/1.0\r\ntraceparent: 00-a\r\nEmpty:\r\nUrl: http://x:1\r\n\r\n"

    found = headers_in(base64.b64encode(block).decode())
    assert found == {"traceparent": "00-a", "Empty": "", "Url": "http://x:1"}
    assert headers_in("") == {}
