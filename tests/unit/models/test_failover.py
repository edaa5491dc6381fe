"""The next model is called when one fails: in order, in time, and never after text was streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from agentd.errors import ModelError, NotCalled, Throttled
from agentd.models.failover import PATIENCE, FailoverModel
from agentd.models.failures import Failures
from agentd.models.port import ChatRequest, Completion, ModelAttempt, Usage
from agentd.testing import virtual_time

BUSY = NotCalled(
    "busy: in a cooldown", code="model_rate_limited", retryable=True, retry_after=PATIENCE + 3
)


@dataclass
class Scripted:
    """A model whose calls end, one after the other, as the test says."""

    name: str
    ends: list[str | ModelError]
    takes: float = 0.0
    price: float | None = 1.0
    pieces: tuple[str, ...] = ()
    is_mock = False
    requests: list[ChatRequest] = field(default_factory=list[ChatRequest])

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        self.requests.append(request)
        for piece in self.pieces if on_delta else ():
            assert on_delta
            on_delta(piece)
        async with Failures(self.name).within(request.timeout):
            await asyncio.sleep(self.takes)
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, ModelError):
            raise end
        if on_delta:
            on_delta(end)
        return Completion("".join(self.pieces) + end, self.name, "stop", cost=self.price)

    def cost_of(self, usage: Usage) -> float | None:
        return self.price


def failing(name: str, code: str, *, status: int | None = None, **kind: object) -> Scripted:
    retry_after = kind.get("retry_after")
    assert retry_after is None or isinstance(retry_after, float)
    error = Failures(name).error(code, "no", status=status, retry_after=retry_after)
    return Scripted(name, [error])


def ask(
    *models: Scripted, timeout: float = 90.0, pieces: list[str] | None = None
) -> tuple[Completion | ModelError, list[ModelAttempt]]:
    """The outcome of a call, and the attempts that it took."""
    attempts: list[ModelAttempt] = []

    async def call() -> Completion | ModelError:
        request = ChatRequest((), {}, timeout, on_attempt=attempts.append)
        try:
            on_delta = pieces.append if pieces is not None else None
            return await FailoverModel(models).complete(request, on_delta)
        except ModelError as error:
            return error

    return virtual_time.run(call), attempts


@pytest.mark.parametrize(
    "code",
    [
        *("model_rate_limited", "model_overloaded", "model_timeout", "model_truncated"),
        *("model_garbage", "model_too_large"),
        *("model_auth", "model_config", "model_not_found", "model_rejected"),
    ],
)
def test_after_any_other_error_the_next_model_answers(code: str) -> None:
    answer, attempts = ask(failing("a", code), Scripted("b", ["yes"]))
    assert isinstance(answer, Completion)
    assert (answer.text, answer.model) == ("yes", "b")
    assert [(each.model, each.code) for each in attempts] == [("a", code), ("b", "")]
    assert [(each.model, each.code) for each in answer.attempts] == [("a", code), ("b", "")]
    assert [each.completion is None for each in attempts] == [True, False]


def test_an_answer_of_the_first_model_has_no_list_of_attempts() -> None:
    answer, attempts = ask(Scripted("a", ["yes"]), Scripted("b", ["no"]))
    assert isinstance(answer, Completion)
    assert (answer.model, answer.attempts, len(attempts)) == ("a", (), 1)


def test_after_a_refusal_by_a_content_policy_no_other_model_is_called() -> None:
    other = Scripted("b", ["yes"])
    error, _ = ask(failing("a", "model_refused"), other)
    assert isinstance(error, ModelError)
    assert (error.code, other.requests) == ("model_refused", [])


def test_the_errors_of_all_models_become_one() -> None:
    models = (
        failing("a", "model_auth"),
        failing("b", "model_rate_limited", status=429, retry_after=7.0),
        failing("c", "model_overloaded", status=503, retry_after=3.0),
    )
    error, attempts = ask(*models)
    assert isinstance(error, ModelError)
    assert str(error) == "no model answered: a: no; b: no; c: no"
    assert (error.code, error.status, error.retryable) == ("model_rate_limited", 429, True)
    assert (error.retry_after, len(attempts)) == (3.0, 3)
    final, _ = ask(failing("a", "model_auth"), failing("b", "model_not_found"))
    assert isinstance(final, ModelError)
    assert (final.code, final.retryable, final.retry_after) == ("model_auth", False, None)


def test_the_error_of_a_single_model_stays_as_it_is() -> None:
    model = failing("a", "model_auth")
    error, _ = ask(model)
    assert error is model.ends[0]


def test_a_model_that_hangs_leaves_time_for_the_others() -> None:
    slow = [Scripted(name, ["late"], takes=1000) for name in "ab"]
    answer, attempts = ask(*slow, Scripted("c", ["yes"], takes=14), timeout=90)
    assert isinstance(answer, Completion)
    assert answer.model == "c"
    assert [(each.code, round(each.seconds)) for each in attempts] == [
        ("model_timeout", 45),
        ("model_timeout", 30),
        ("", 14),
    ]


def test_a_model_that_streams_may_use_all_the_time() -> None:
    pieces: list[str] = []
    slow = Scripted("a", ["end"], takes=80, pieces=("begin",))
    answer, _ = ask(slow, Scripted("b", ["no"]), timeout=90, pieces=pieces)
    assert isinstance(answer, Completion)
    assert (answer.model, pieces) == ("a", ["begin", "end"])


def test_no_model_continues_the_answer_of_another() -> None:
    pieces: list[str] = []
    broken = Scripted("a", [Failures("a").error("model_truncated", "cut")], pieces=("begin",))
    other = Scripted("b", ["yes"])
    error, _ = ask(broken, other, pieces=pieces)
    assert isinstance(error, ModelError)
    assert (error.code, error.retryable, pieces, other.requests) == (
        "model_truncated",
        True,
        ["begin"],
        [],
    )


def test_a_busy_model_is_not_waited_for_while_another_can_answer() -> None:
    busy, free = Scripted("a", [BUSY]), Scripted("b", ["yes"])
    answer, attempts = ask(busy, free)
    assert isinstance(answer, Completion)
    assert answer.model == "b"
    assert busy.requests[0].patience == PATIENCE
    assert free.requests[0].patience == PATIENCE  # the first one may be free earlier
    assert [each.called for each in attempts] == [False, True]


def test_if_all_are_busy_the_first_to_be_free_is_waited_for() -> None:
    late = NotCalled("late", code="model_rate_limited", retryable=True, retry_after=50.0)
    soon = Scripted("b", [BUSY, "yes"])
    answer, attempts = ask(Scripted("a", [late]), soon)
    assert isinstance(answer, Completion)
    assert (answer.model, len(attempts)) == ("b", 3)
    assert [request.patience for request in soon.requests] == [PATIENCE, None]


def test_of_models_that_are_free_at_the_same_time_the_first_choice_is_waited_for() -> None:
    """For example when the rate of the agent is used up, which all of its models share."""
    first = Scripted("a", [Throttled("t", code="model_rate_limited", retryable=True), "yes"])
    second = Scripted("b", [Throttled("t", code="model_rate_limited", retryable=True), "no"])
    for model, wait in ((first, 30.0), (second, 29.9)):
        assert isinstance(model.ends[0], ModelError)
        model.ends[0].retry_after = wait
    answer, _ = ask(first, second)
    assert isinstance(answer, Completion)
    assert answer.model == "a"


def away(text: str = "no connection") -> ModelError:
    return Failures("a").unreachable(text)


def test_a_server_that_is_away_is_waited_for() -> None:
    waited: list[str] = []

    async def call() -> tuple[Completion, float]:
        loop = asyncio.get_running_loop()

        async def on_wait(reason: str) -> None:
            waited.append(reason)

        request = ChatRequest((), {}, 90, on_attempt=attempts.append, on_wait=on_wait)
        return await FailoverModel([model]).complete(request), loop.time()

    attempts: list[ModelAttempt] = []
    model = Scripted("a", [*[away()] * 9, Failures("a").refused(503, "loading"), "yes"])
    answer, took = virtual_time.run(call)
    assert answer.text == "yes"
    assert 15 < took < 40
    assert waited == [*["a: no connection"] * 9, "a: answered 503: loading"]
    # One outage is one failed attempt, however often the server was looked for.
    assert [each.code for each in attempts] == ["model_overloaded", ""]
    assert [each.code for each in answer.attempts] == ["model_overloaded", ""]
    # Its limiter need not say it again.
    assert [request.on_wait is None for request in model.requests] == [False, *[True] * 10]


def test_a_server_that_stays_away_is_waited_for_until_the_time_is_over() -> None:
    async def call() -> tuple[ModelError, float]:
        with pytest.raises(ModelError) as caught:
            await FailoverModel([model]).complete(ChatRequest((), {}, 60))
        return caught.value, asyncio.get_running_loop().time()

    model = Scripted("a", [away()])
    error, took = virtual_time.run(call)
    assert (str(error), error.code, took) == ("a: no connection", "model_overloaded", 60)
    assert 12 < len(model.requests) < 30


def test_of_several_servers_that_are_away_the_first_to_come_back_answers() -> None:
    first, second = Scripted("a", [away()]), Scripted("b", [*[away()] * 3, "yes"])
    third = failing("c", "model_auth")
    answer, attempts = ask(first, second, third)
    assert isinstance(answer, Completion)
    assert answer.model == "b"
    assert [each.model for each in attempts] == ["a", "b", "c", "b"]
    assert len(third.requests) == 1


@pytest.mark.parametrize("end", ["model_rate_limited", "model_auth"])
def test_a_server_that_comes_back_and_fails_ends_the_wait(end: str) -> None:
    error = Failures("a").error(end, "no")
    outcome, attempts = ask(Scripted("a", [away(), error]))
    assert outcome is error
    assert [each.code for each in attempts] == ["model_overloaded", end]


def test_no_server_is_waited_for_while_another_may_answer_the_next_attempt() -> None:
    model = Scripted("a", [away()])
    error, attempts = ask(model, failing("b", "model_rate_limited"))
    assert isinstance(error, ModelError)
    assert error.retryable
    assert len(attempts) == 2


def test_the_class_of_the_error_says_that_no_provider_was_called() -> None:
    throttled = Throttled("t", code="model_rate_limited", retryable=True, retry_after=9.0)
    missing = NotCalled("no key", code="model_auth")
    for errors, kind in [
        ((BUSY, missing), NotCalled),
        ((BUSY, throttled), Throttled),
        ((throttled, Failures("c").error("model_overloaded", "no")), ModelError),
    ]:
        error, _ = ask(*(Scripted(str(n), [each]) for n, each in enumerate(errors)))
        assert type(error) is kind


def test_a_call_may_cost_as_much_as_the_most_expensive_model() -> None:
    known = [Scripted("a", ["x"], price=0.1), Scripted("b", ["x"], price=0.7)]
    unknown = Scripted("c", ["x"], price=None)
    assert FailoverModel([*known, unknown]).cost_of(Usage(1, 1)) == 0.7
    assert FailoverModel([unknown]).cost_of(Usage(1, 1)) is None


def test_an_attempt_that_may_have_been_answered_may_have_cost() -> None:
    models = failing("a", "model_timeout"), failing("b", "model_auth"), Scripted("c", ["yes"])
    answer, _ = ask(*models)
    assert isinstance(answer, Completion)
    assert [each.cost for each in answer.attempts] == [1.0, None, None]
    assert [each.answered for each in answer.attempts] == [True, False, False]
    error, _ = ask(failing("a", "model_timeout"), failing("b", "model_garbage"))
    assert isinstance(error, ModelError)
    assert error.cost == 2.0


async def test_the_error_of_all_models_has_the_tokens_of_all() -> None:
    def unusable(usage: Usage | None) -> ModelError:
        error = ModelError("no", code="model_empty", retryable=True)
        error.answered, error.usage, error.cost = True, usage, 0.25
        return error

    for second, total in ((Usage(1, 1), Usage(3, 4)), (None, None)):
        models = [Scripted("a", [unusable(Usage(2, 3))]), Scripted("b", [unusable(second)])]
        with pytest.raises(ModelError) as caught:
            await FailoverModel(models).complete(ChatRequest((), {}, 5))
        assert (caught.value.usage, caught.value.cost, caught.value.may_cost) == (total, 0.5, True)
