"""What an agent has done in this process."""

from __future__ import annotations

from dataclasses import replace

from agentd.agent.outcome import Outcome
from agentd.agent.stats import AgentStats
from agentd.errors import TaskError
from agentd.models.port import Completion, Usage
from agentd.run.loop import RunResult


def answered(*, cost: float | None = 0.25, latency: float = 10.0) -> Outcome:
    completion = Completion("Hi.", "m", "stop", usage=Usage(2, 3), cost=cost)
    result = RunResult(data="Hi.", completion=completion)
    return Outcome(revision="r", model="m", latency=latency, result=result)


def failed(text: str) -> Outcome:
    return Outcome(revision="r", model="m", latency=1.0, error=TaskError(text, code="x"))


def test_answers_add_up() -> None:
    stats = AgentStats()
    for _ in range(2):
        stats.count(answered())

    assert (stats.done, stats.failed, stats.tokens, stats.cost) == (2, 0, 10, 0.5)
    assert not stats.cost_unknown


def test_one_unknown_cost_makes_the_sum_incomplete() -> None:
    stats = AgentStats()
    stats.count(answered(cost=None))
    stats.count(answered())

    assert (stats.cost, stats.cost_unknown) == (0.25, True)


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
