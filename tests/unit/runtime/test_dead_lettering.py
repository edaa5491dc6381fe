"""The message of a task that no agent runs, valid or not."""

from __future__ import annotations

from agentd.queue.delivery import Parcel, parcel
from agentd.runtime.dead_lettering import task_of


def stored(data: bytes, **headers: str) -> Parcel:
    source = {"Nats-Stream-Source": "AGENTD_LOG 7 a b agents.dev.task.analysis.general x"}
    return parcel(data, {**source, **headers}, attempt=2, stored_at=5.0)


def test_a_valid_message_is_the_task() -> None:
    task = task_of(stored(b'{"id": "t1", "payload": {"content": "hello"}}'))

    assert (task.id, task.type, task.payload.content) == ("t1", "task", "hello")


def test_a_message_without_an_id_and_a_time_gets_those_of_the_parcel() -> None:
    task = task_of(stored(b'{"payload": {"content": "hello"}}', **{"Nats-Msg-Id": "m1"}))

    assert (task.id, task.timestamp) == ("m1", 5.0)


def test_invalid_bytes_are_an_empty_task_with_the_id_that_they_contain() -> None:
    task = task_of(stored(b'{"id": "t1", "priority": "no such field"}'))

    assert (task.id, task.payload.content) == ("t1", None)


def test_invalid_bytes_without_an_id_are_an_empty_task_with_the_id_of_the_parcel() -> None:
    parcel = stored(b"\xff")

    assert task_of(parcel).id == parcel.default_id
