"""What a task has used adds up, and is unknown if what one call used is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agentd.errors import BusError, ModelError, NotCalled, Undeliverable
from agentd.models.port import Completion, ModelAttempt, Usage
from agentd.run.spending import Spending


def answered(usage: Usage | None = Usage(2, 3), cost: float | None = 0.1) -> Completion:
    return Completion("x", "m", "stop", usage=usage, cost=cost)


def error(code: str, usage: Usage | None = None, cost: float | None = None) -> ModelError:
    failed = ModelError("no", code=code)
    failed.usage, failed.cost = usage, cost
    return failed


def test_calls_add_up() -> None:
    spending = Spending()
    for _ in range(3):
        spending.called(answered())
    assert spending.total.usage == Usage(6, 9)
    assert spending.total.cost == pytest.approx(0.3)
    assert spending.here == spending.total


@pytest.mark.parametrize(
    ("failed", "usage", "cost"),
    [
        (
            ModelAttempt(model="a", seconds=1, answered=True, usage=Usage(1, 1), cost=0.5),
            (3, 4),
            0.6,
        ),
        (ModelAttempt(model="a", seconds=1, answered=True, usage=Usage(1, 1)), (3, 4), None),
        (ModelAttempt(model="a", seconds=1, answered=True, cost=0.5), None, None),
        (ModelAttempt(model="a", seconds=1), (2, 3), 0.1),
    ],
)
def test_the_attempts_that_failed_before_an_answer_count(
    failed: ModelAttempt, usage: tuple[int, int] | None, cost: float | None
) -> None:
    completion = replace(answered(), attempts=(failed, ModelAttempt(model="b", seconds=1)))
    now, later = Spending(), Spending()
    now.called(completion)
    later.recorded(completion)
    for spending in (now, later):
        assert spending.total.usage == (usage and Usage(*usage))
        assert spending.total.cost == (cost and pytest.approx(cost))


def test_recorded_turns_count_in_the_total_only() -> None:
    spending = Spending()
    spending.recorded(answered())
    spending.called(answered())
    assert (spending.here.usage, spending.total.usage) == (Usage(2, 3), Usage(4, 6))
    assert (spending.total.calls, spending.total.cost) == (2, pytest.approx(0.2))
    spending.recorded(answered(usage=None, cost=None))
    assert (spending.total.usage, spending.total.cost) == (None, None)
    assert spending.here.usage == Usage(2, 3)


@pytest.mark.parametrize(
    ("failure", "usage", "cost", "calls"),
    [
        (error("model_garbage", Usage(1, 1), 0.5), Usage(3, 4), 0.6, 2),
        (error("model_garbage", Usage(1, 1)), Usage(3, 4), None, 2),
        (error("model_timeout"), None, None, 2),
        (error("model_timeout", cost=0.5), None, None, 2),
        (error("model_auth"), Usage(2, 3), 0.1, 1),
        (NotCalled("busy", code="model_timeout"), Usage(2, 3), 0.1, 1),
        (Undeliverable("no money", code="budget"), Usage(2, 3), 0.1, 1),
        (BusError("away"), Usage(2, 3), 0.1, 1),
        (asyncio.CancelledError(), None, None, 2),
    ],
)
def test_a_failed_call_counts_if_it_may_have_been_answered(
    failure: BaseException, usage: Usage | None, cost: float | None, calls: int
) -> None:
    spending = Spending()
    spending.called(answered())
    spending.failed(failure)
    assert (spending.total.usage, spending.total.calls) == (usage, calls)
    assert spending.total.cost == (cost and pytest.approx(cost))


def test_what_is_unknown_stays_unknown() -> None:
    spending = Spending()
    spending.called(answered(usage=None, cost=None))
    spending.called(answered())
    assert (spending.total.usage, spending.total.cost) == (None, None)
