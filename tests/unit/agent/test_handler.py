"""How a delivery ends: acknowledged with an outcome, or handed back with a delay."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.errors import ModelError
from agentd.queue.dead_letters import REASON
from agentd.queue.delivery import TASK as TASK_ID
from tests.unit.workbench import MANIFEST, TASK, ScriptedModel, Workbench, revision_of

OVERLOADED = ModelError("busy", code="model_overloaded", retryable=True)
SLOW_DOWN = ModelError("busy", code="model_rate_limited", retryable=True, retry_after=7.0)


def workbench(folder: Path, model: ScriptedModel, manifest: str = MANIFEST) -> Workbench:
    return Workbench(revision_of(folder, manifest, model))


def delay_of(nak: bytes) -> float:
    """The seconds that a hand-back asks for."""
    return int(nak.removeprefix(b'-NAK {"delay": ').removesuffix(b"}")) / 1e9


async def test_an_answered_task_is_acknowledged_and_counted(tmp_path: Path) -> None:
    bench = workbench(tmp_path, ScriptedModel("hello"))
    assert await bench.handle() == b"+ACK"
    assert bench.result()["data"] == "hello"
    assert (bench.stats.done, bench.stats.failed, bench.queue.expected) == (1, 0, [])
    exposed = bench.services.metrics.expose()[0].decode()
    assert 'direction="output"} 2.0' in exposed


async def test_a_failed_attempt_is_handed_back_for_as_long_as_its_pause(tmp_path: Path) -> None:
    bench = workbench(tmp_path, ScriptedModel(SLOW_DOWN), f"{MANIFEST}\nretry: {{backoff: 1s}}")
    delivery = bench.delivery()
    assert delay_of(await bench.handle(delivery)) == 7.0
    assert bench.queue.expected == [(delivery, 7.0)]
    assert bench.stored("result.>") == []
    assert bench.stats.failed == 0


async def test_the_last_attempt_ends_with_an_error_and_a_dead_letter(tmp_path: Path) -> None:
    bench = workbench(tmp_path, ScriptedModel(OVERLOADED), f"{MANIFEST}\nretry: {{attempts: 1}}")
    assert await bench.handle() == b"+ACK"
    assert bench.result()["error"]["code"] == "exhausted"
    assert bench.dead_letter()[REASON] == "exhausted"
    assert (bench.stats.done, bench.stats.failed) == (0, 1)


@pytest.mark.parametrize(
    ("attempt", "delay"), [(1, 1.0), (2, 2.0), (3, 4.0), (5, 16.0), (6, 30.0), (400, 30.0)]
)
async def test_without_an_outcome_a_task_goes_back_for_longer_each_time(
    tmp_path: Path, attempt: int, delay: float
) -> None:
    bench = workbench(tmp_path, ScriptedModel())
    delivery = bench.delivery(attempt=attempt)
    # Only what the outcome needs is away; the settlement itself reaches the server.
    bench.bus.streams.clear()
    assert delay_of(await bench.handle(delivery)) == delay
    assert bench.queue.expected == [(delivery, delay)]


async def test_bytes_that_are_not_a_task_are_dead_lettered_and_answered(tmp_path: Path) -> None:
    bench = workbench(tmp_path, ScriptedModel())
    assert await bench.handle(bench.delivery(b'{"id": "mine", "payload": 3}')) == b"+ACK"
    assert bench.result()["error"]["code"] == "malformed"
    assert (bench.dead_letter()[REASON], bench.dead_letter()[TASK_ID]) == ("malformed", "mine")
    # A second delivery finds the result on record, and is acknowledged too.
    again = bench.delivery(b'{"id": "mine", "payload": 3}', attempt=2)
    assert await bench.handle(again) == b"+ACK"
    assert bench.dead_letter()


async def test_a_task_that_another_replica_has_answered_is_acknowledged(tmp_path: Path) -> None:
    bench = workbench(tmp_path, ScriptedModel())
    assert await bench.handle() == b"+ACK"
    assert await bench.handle(bench.delivery(attempt=2)) == b"+ACK"
    assert len(bench.stored("result.>")) == 1
    assert bench.stats.done == 1


async def test_a_task_runs_with_the_priority_of_its_subject(tmp_path: Path) -> None:
    bench = workbench(tmp_path, ScriptedModel())
    await bench.handle(bench.delivery(subject=f"{TASK}.8"))
    [result] = bench.stored("result.>")
    assert result.routing.priority == 8
