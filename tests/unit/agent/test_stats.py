"""What an agent has done in this process."""

from __future__ import annotations

from dataclasses import replace

from agentd.agent.outcome import Outcome
from agentd.agent.stats import AgentStats
from agentd.errors import ModelError, TaskError
from agentd.models.port import Completion, Usage
from agentd.run.loop import RunResult
from agentd.run.spending import Spending


def answered(*, cost: float | None = 0.25, latency: float = 10.0) -> Outcome:
    completion = Completion("Hi.", "m", "stop", usage=Usage(2, 3), cost=cost)
    result, spending = RunResult(data="Hi.", completion=completion), Spending()
    spending.called(completion)
    return Outcome(revision="r", model="m", latency=latency, result=result, spending=spending)


def failed(text: str) -> Outcome:
    return Outcome(revision="r", model="m", latency=1.0, error=TaskError(text, code="x"))


def test_answers_add_up() -> None:
    stats = AgentStats()
    for _ in range(2):
        stats.count(answered())

    assert (stats.done, stats.failed) == (2, 0)
    assert (stats.spent.usage, stats.spent.cost) == (Usage(4, 6), 0.5)


def test_a_task_that_failed_has_been_paid_too() -> None:
    stats = AgentStats()
    error = ModelError("cut off", code="model_cut_off")
    error.answered, error.usage, error.cost = True, Usage(2, 3), 0.25
    outcome = failed("cut off")
    outcome.spending.failed(error)
    stats.count(outcome)
    assert (stats.spent.usage, stats.spent.cost) == (Usage(2, 3), 0.25)


def test_one_unknown_cost_makes_the_sum_incomplete() -> None:
    stats = AgentStats()
    stats.count(answered(cost=None))
    stats.count(answered())

    assert (stats.spent.usage, stats.spent.cost) == (Usage(4, 6), None)


def test_turns_of_an_earlier_delivery_are_not_counted_again() -> None:
    stats, spending = AgentStats(), Spending()
    spending.recorded(Completion("", "m", "tool_calls", usage=Usage(2, 3), cost=0.25))
    stats.spend(spending)
    assert (stats.spent.usage, stats.spent.cost) == (Usage(0, 0), 0.0)


def test_failures_in_a_row_end_with_a_success() -> None:
    stats = AgentStats()
    stats.count(failed("first"))
    stats.count(failed("second"))
    assert (stats.failed, stats.failing, stats.last_error) == (2, 2, "second")

    stats.count(answered())
    assert (stats.failed, stats.failing) == (2, 0)


def test_the_median_is_of_the_last_runs() -> None:
    stats = AgentStats()
    assert stats.p50 is None
    for latency in (1.0, 100.0, 3.0):
        stats.count(answered(latency=latency))

    assert stats.p50 == 3.0


def test_answers_that_were_cut_off_are_counted() -> None:
    stats = AgentStats()
    whole = answered()
    assert whole.result
    cut = replace(whole.result, completion=replace(whole.result.completion, cut="max_tokens"))
    for outcome in (whole, replace(whole, result=cut), whole):
        stats.count(outcome)

    assert (stats.done, stats.cut) == (3, 1)
