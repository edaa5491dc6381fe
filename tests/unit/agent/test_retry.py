"""How long a failed attempt waits for the next one."""

from __future__ import annotations

import random

import pytest

from agentd.agent.retry import pause
from agentd.errors import ModelError, TaskError
from agentd.manifest.limits import Retry

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
