"""One record of the log: to which task it belongs, and what its values may be."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.record.trace.entry import Entry, gist


def entry(subject: str, data: bytes = b"{}", **headers: str) -> Entry:
    return Entry.of(7, 1.0, subject, data, {key.replace("_", "-"): headers[key] for key in headers})


@pytest.mark.parametrize(
    ("subject", "data", "task"),
    [
        ("agents.dev.task.analysis.x", b'{"id": "t1"}', "t1"),
        ("agents.dev.result.analysis.x.t1", b"{}", "t1"),
        ("agents.dev.event.run.t1", b"{}", "t1"),
        ("agents.dev.event.approval.t1", b"", "t1"),
        ("agents.dev.event.join.t1", b"{}", "t1"),
        ("agents.dev.event.join_late.t1", b"{}", "t1"),
        ("agents.dev.event.summary.x", b'{"context": {"parentMessageId": "t1"}}', "t1"),
        (
            "agents.dev.event.dlq.retried",
            b'{"payload": {"content": {"event": "letter_retried", "task": "t1"}}}',
            "t1",
        ),
        ("agents.dev.event.billing.paid", b'{"payload": {"content": {"task": "t1"}}}', ""),
    ],
)
def test_the_task_of_a_record(subject: str, data: bytes, task: str) -> None:
    assert entry(subject, data).task == task


def test_the_task_of_a_dead_letter_is_in_its_header() -> None:
    assert entry("agents.dev.dlq.analysis.x", b"\xff", Agentd_Task="t1").task == "t1"


def test_a_message_without_an_id_has_that_of_its_header() -> None:
    assert entry("agents.dev.task.a.b", b"{}", Nats_Msg_Id="m").id == "m"
    assert entry("agents.dev.task.a.b", b"{}", Nats_Msg_Id="m", Agentd_Task="t").id == "t"
    assert entry("agents.dev.task.a.b", b'{"id": "a b"}', Nats_Msg_Id="m").id == "m"


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[1]", b"3", b'{"payload": 3}', b'{"payload": []}']
)
def test_bytes_of_any_kind_are_a_record(data: bytes) -> None:
    found = entry("agents.dev.event.run.t1", data)

    assert (found.content, found.kind, found.parent, found.source, found.life) == (
        {},
        "",
        "",
        "",
        0,
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\n b", "a b"),
        ({"instruction": "Do it.", "x": 1}, "Do it."),
        ({"x": 1}, '{"x": 1}'),
        ([1], "[1]"),
        (None, ""),
        ("x" * 10_000, "x" * 200),
    ],
)
def test_the_gist_of_a_value(value: Any, shown: str) -> None:
    assert gist(value) == shown
