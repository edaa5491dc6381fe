"""A step describes its messages."""

from __future__ import annotations

import pytest

from agentd.record.audit import batch
from agentd.record.audit.log_reader import Entry
from agentd.record.audit.verifier.judge import Batch

INFO = {
    "ts": "2026-11-30T12:00:09.5Z",
    "state": {"first_seq": 3, "last_seq": 12, "bytes": 700},
    "config": {"max_bytes": -1, "max_age": 86400 * 10**9},
}


def entry(sequence: int, headers: bytes = b"") -> Entry:
    at = f"2026-11-30T12:00:0{sequence}.123456789Z".encode()
    return Entry(sequence, at, b"agents.dev.event.a.b", headers, b"")


def test_it_says_which_messages_and_what_the_log_said() -> None:
    found = Batch.parse(batch.text([entry(3), entry(4), entry(7)], 40, INFO))

    assert (found.start, list(found.each())) == (40, [3, 4, 7])
    assert found.since == pytest.approx(1796040003.123456)
    assert found.at == pytest.approx(1796040009.5)
    assert found.log == {"first": 3, "bytes": 700, "max_bytes": 0, "max_age": 86400}
    assert found.expires == {}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("15", 15),
        ("15s", 15),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("never", None),
        ("", None),
        ("\xff", None),
    ],
)
def test_it_says_when_a_message_expires(value: str, seconds: float | None) -> None:
    headers = f"NATS/1.0\r\nA: 1\r\nNats-TTL: {value}\r\nB: 2\r\n".encode("latin-1")
    found = Batch.parse(batch.text([entry(1), entry(2, headers)], 0, INFO))

    expected = {} if seconds is None else {2: pytest.approx(1796040002.123 + seconds, abs=0.01)}
    assert found.expires == expected


@pytest.mark.parametrize(
    "damage",
    [
        (b'"sequences": [[1, 1]]', b'"sequences": [[1, 1000000000]]'),
        (b'"sequences": [[1, 1]]', b'"sequences": [[2, 1]]'),
        (b'"sequences": [[1, 1]]', b'"sequences": [[3, 3], [1, 1]]'),
        (b'"sequences": [[1, 1]]', b'"sequences": [["1", 1]]'),
        (b'"bytes": 700', b'"bytes": -1'),
        (b'"bytes": 700', b'"bytes": NaN'),
        (b'"bytes": 700', b'"bytes": 1e400'),
        (b'"bytes"', b'"byte"'),
        (b'"max_age"', b'"age"'),
    ],
)
def test_a_damaged_batch_is_refused(damage: tuple[bytes, bytes]) -> None:
    text = batch.text([entry(1)], 0, INFO)
    assert damage[0] in text

    with pytest.raises((ValueError, LookupError, TypeError)):
        Batch.parse(text.replace(*damage))
