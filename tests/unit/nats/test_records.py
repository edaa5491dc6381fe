"""A record that cannot be read costs a warning that names it, once, and nothing else."""

from __future__ import annotations

import logging

import pytest

from agentd.errors import BusError, DecodeError
from agentd.nats.bus import Msg
from agentd.nats.records import skipped, skipping
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


def test_a_server_that_does_not_answer_is_no_mistake_of_the_record() -> None:
    with pytest.raises(BusError), skipping("A_BUCKET", record("$KV.a.c", 1)):
        raise BusError("no server")
