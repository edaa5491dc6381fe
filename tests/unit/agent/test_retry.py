"""Whether a failed attempt is followed by another one, and how long it waits for it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.retry import final_error, pause
from agentd.errors import Again, BusError, ModelError, TaskError, Throttled, Undeliverable
from agentd.manifest.limits import Retry
from agentd.run.deadline import Deadline
from tests.unit.workbench import MANIFEST, Workbench, revision_of

FAILED = TaskError("failed", code="any", retryable=True)


def limited(retry_after: float | None) -> ModelError:
    return ModelError("slow down", code="model_rate_limited", retry_after=retry_after)


def pauses(policy: Retry, attempt: int, error: TaskError = FAILED) -> list[float]:
    """Many pauses, the shortest first, as the dice of one seed have them."""
    random.seed(1)
    return sorted(pause(policy, attempt, error) for _ in range(2000))


@pytest.mark.parametrize(
    ("attempt", "longest"),
    [(1, 3.0), (2, 6.0), (3, 12.0), (4, 24.0), (5, 40.0), (60, 40.0)],
)
def test_the_longest_pause_doubles_with_each_attempt_up_to_the_maximum(
    attempt: int, longest: float
) -> None:
    found = pauses(Retry(backoff=3.0, max_backoff=40.0), attempt)
    assert found[-1] <= longest
    assert found[-1] == pytest.approx(longest, rel=0.01)


def test_a_pause_is_anything_between_nothing_and_the_longest() -> None:
    """Full jitter: replicas that failed together must not come back together."""
    found = pauses(Retry(backoff=10.0), 1)
    assert 0 <= found[0] < 0.1
    assert found[1000] == pytest.approx(5.0, abs=0.5)


def test_a_pause_is_never_shorter_than_the_provider_asked_for() -> None:
    found = pauses(Retry(backoff=10.0), 1, limited(4.0))
    assert found[0] == 4.0
    assert found[-1] == pytest.approx(10.0, rel=0.01)
    assert set(pauses(Retry(backoff=1.0), 1, limited(90.0))) == {90.0}


def test_a_provider_that_asked_for_nothing_changes_nothing() -> None:
    policy = Retry(backoff=10.0)
    assert pauses(policy, 1, limited(None)) == pauses(policy, 1)


def workbench(folder: Path, policy: str) -> Workbench:
    return Workbench(revision_of(folder, f"{MANIFEST}\nretry: {policy}"))


def deadline(bench: Workbench, used: float = 0.0) -> Deadline:
    return bench.task().deadline(used)


async def again(bench: Workbench, error: TaskError, attempt: int) -> Again:
    with pytest.raises(Again) as raised:
        await final_error(bench.task(), error, attempt, deadline(bench))
    assert raised.value.error is error
    return raised.value


def noted(bench: Workbench) -> list[dict[str, Any]]:
    """The entries of the journal: what kind each is, and its error."""
    events = bench.stored("event.run.*")
    names = ("event", "delivery", "error")
    return [{name: each.payload.content[name] for name in names} for each in events]


async def test_an_error_that_stays_ends_the_task(tmp_path: Path) -> None:
    bench = workbench(tmp_path, "{attempts: 5}")
    error = TaskError("no", code="any")
    assert await final_error(bench.task(), error, 1, deadline(bench)) is error
    assert noted(bench) == []


async def test_an_attempt_that_may_be_repeated_is_noted_with_its_error(tmp_path: Path) -> None:
    bench = workbench(tmp_path, "{attempts: 3, backoff: 5s}")
    raised = await again(bench, FAILED, 2)
    assert 0 <= raised.delay <= 10
    error = {"code": "any", "message": "failed"}
    assert noted(bench) == [{"event": "attempt_failed", "delivery": 1, "error": error}]


async def test_the_pause_is_that_of_the_attempt(tmp_path: Path) -> None:
    bench = workbench(tmp_path, "{attempts: 9, backoff: 1s, max_backoff: 64s}")
    random.seed(1)
    delays = [(await again(bench, FAILED, 6)).delay for _ in range(200)]
    assert 28 < max(delays) <= 32


async def test_after_the_last_attempt_the_task_is_given_up(tmp_path: Path) -> None:
    bench = workbench(tmp_path, "{attempts: 3}")
    await again(bench, FAILED, 2)
    for attempt in (3, 4):
        error = await final_error(bench.task(), FAILED, attempt, deadline(bench))
        assert isinstance(error, Undeliverable)
        assert error.code == "exhausted"
        assert str(error) == f"{attempt} attempts failed, the last one with any: failed"
    assert len(noted(bench)) == 1


async def test_a_throttled_task_waits_its_turn_however_often(tmp_path: Path) -> None:
    bench = workbench(tmp_path, "{attempts: 1}")
    error = Throttled("later", code="budget", retryable=True, retry_after=9.0)
    raised = await again(bench, error, 1)
    assert raised.delay == 9.0
    told = {"code": "budget", "message": "later"}
    assert noted(bench) == [{"event": "handed_back", "delivery": 1, "error": told}]


@pytest.mark.parametrize(("timeout", "again_after"), [(8_000, False), (9_500, True)])
async def test_a_task_that_expires_before_the_next_attempt_ends_with_its_error(
    tmp_path: Path, timeout: int, again_after: bool
) -> None:
    bench = workbench(tmp_path, "{attempts: 5, backoff: 1ms}")
    body = {"payload": {"content": "x"}, "routing": {"timeout": timeout}}
    task, error = bench.task(bench.delivery(body)), limited(9.0)
    error.retryable = True
    if again_after:
        with pytest.raises(Again):
            await final_error(task, error, 1, task.deadline(0))
        return
    assert await final_error(task, error, 1, task.deadline(0)) is error
    assert noted(bench) == []


@pytest.mark.parametrize(
    "error", [FAILED, ModelError("late", code="model_timeout", retryable=True)]
)
async def test_a_task_whose_time_is_used_up_is_not_begun_again(
    tmp_path: Path, error: TaskError
) -> None:
    bench = workbench(tmp_path, "{attempts: 5, backoff: 1ms}")
    final = await final_error(bench.task(), error, 1, deadline(bench, used=120))
    assert isinstance(final, Undeliverable)
    assert final.code == "expired"
    assert str(final) == (
        "limits.timeout (120 s) leaves no time for another attempt; attempt 1 ended with "
        f"{error.code}: {error}"
    )
    assert noted(bench) == []


async def test_our_own_pause_is_part_of_the_time_and_one_that_a_provider_asks_for_is_not(
    tmp_path: Path,
) -> None:
    bench = workbench(tmp_path, "{attempts: 5, backoff: 1000s, max_backoff: 1000s}")
    random.seed(1)  # 134 s
    final = await final_error(bench.task(), FAILED, 1, deadline(bench, used=10))
    assert final.code == "expired"
    asked = limited(600.0)
    asked.retryable = True
    with pytest.raises(Again):
        await final_error(bench.task(), asked, 1, deadline(bench, used=10))
    [entry] = bench.stored("event.run.*")
    assert entry.payload.content["delay"] >= 600
    assert entry.payload.content["used"] == pytest.approx(0, abs=1)


async def test_a_task_that_waits_for_a_rate_does_not_use_its_time(tmp_path: Path) -> None:
    bench = workbench(tmp_path, "{attempts: 1}")
    error = Throttled("later", code="budget", retryable=True, retry_after=9.0)
    with pytest.raises(Again):
        await final_error(bench.task(), error, 1, deadline(bench, used=120))
    [entry] = bench.stored("event.run.*")
    assert "used" not in entry.payload.content


async def test_an_attempt_that_cannot_be_noted_is_an_error_of_the_bus(tmp_path: Path) -> None:
    bench = workbench(tmp_path, "{attempts: 5}")
    bench.bus.streams.clear()
    with pytest.raises(BusError):
        await final_error(bench.task(), FAILED, 1, deadline(bench))
