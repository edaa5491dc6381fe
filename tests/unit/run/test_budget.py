"""What a task may spend: set aside before its model is called, and settled after it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from agentd.errors import BusError, ModelError, NotCalled, TaskError, Throttled, Undeliverable
from agentd.manifest.agent import Limits
from agentd.models.port import ChatRequest, Completion, ModelAttempt, ToolCall, Usage
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import BUDGETS
from agentd.protocol.fields import Constraints, Context
from agentd.protocol.message import AgentIdentity, AgentMessage, Payload, new
from agentd.run.account import Account, Hold, SharedAccount, account_subject
from agentd.run.budget import Budgets, TaskBudget, usd
from agentd.run.deadline import Deadline
from agentd.testing.virtual_time import in_virtual_time
from tests.memory_bus import MemoryBus

HELLO = ChatRequest([{"role": "user", "content": "hello"}], {"max_tokens": 7}, 10)
NOW = 1_000.0
HOUR = 3600.0


class Costing:
    """A model at a price for each call. `asked` is the last usage that a price was asked for."""

    name = "mock/costing"
    is_mock = True

    def __init__(self, price: float | None) -> None:
        self.price = price
        self.asked: Usage | None = None

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        return answer(self.price)

    def cost_of(self, usage: Usage) -> float | None:
        self.asked = usage
        return self.price

    async def close(self) -> None: ...


class Ledger:
    """An account in memory: the port of `Shared`. `failing` makes its next changes fail."""

    def __init__(self, account: Account | None = None) -> None:
        self.account = account or Account()
        self.failing: list[BusError] = []
        self.looks = 0

    async def change(self, edit: Callable[[Account], Account]) -> None:
        await asyncio.sleep(0)
        if self.failing:
            raise self.failing.pop()
        edit(self.account)  # as in the real one, an edit may be made twice
        self.account = edit(self.account)

    async def changed(self) -> None:
        self.looks += 1
        await asyncio.sleep(0.25)


@dataclass
class Clock:
    """A wall clock that is set by hand, or that of the event loop."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def loop_clock() -> float:
    return NOW + asyncio.get_running_loop().time()


def answer(cost: float | None, *, calls: bool = False, failed: float | None = None) -> Completion:
    """An answer with what it cost, after an attempt that failed and cost as much as it says."""
    tools = (ToolCall("1", "tool", "{}"),) if calls else ()
    attempts = (ModelAttempt(model="other", seconds=1.0, cost=failed),) if failed else ()
    return Completion("hello", "mock/costing", "stop", tools, cost=cost, attempts=attempts)


def task(max_cost: float | None = None, conversation: str = "c") -> AgentMessage:
    payload = Payload(content="x", constraints=Constraints(max_cost=max_cost))
    context = Context(conversation_id=conversation)
    return new("task", payload, source=AgentIdentity(id="test"), id="t", context=context)


def no_account() -> SharedAccount:
    raise LookupError("an account was looked at")


class Spending:
    """A task's budget on a ledger, with calls of its model."""

    def __init__(
        self,
        ledger: Ledger | None = None,
        *,
        price: float = 0.1,
        cost: float = 1.0,
        conversation_cost: float = 10.0,
        max_cost: float | None = None,
        seconds: float = 120.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.ledger = ledger or Ledger()
        self.model = Costing(price)
        limits = Limits(cost=cost, conversation_cost=conversation_cost)
        message = task(max_cost)
        deadline = Deadline.of(message, limit=seconds, now=message.sent_at)
        shared = cast("SharedAccount", self.ledger)
        self.budget = TaskBudget(message, limits, deadline, lambda: shared, clock or Clock())
        self.held: list[Account] = []

    async def call(self, result: Completion | BaseException | None = None, **last: bool) -> float:
        """One call, which gives this result; its cost."""

        async def call() -> Completion:
            self.held.append(self.ledger.account)
            if isinstance(result, BaseException):
                raise result
            return result or answer(self.model.price)

        completion = await self.budget.spend(self.model, HELLO, call, **last)
        return completion.cost or 0.0

    async def refusal(self) -> Undeliverable:
        before = self.ledger.account
        with pytest.raises(Undeliverable) as refused:
            await self.call()
        assert (self.held, self.ledger.account) == ([], before)
        assert refused.value.code == "budget"
        return refused.value

    async def failure(self, error: BaseException, **last: bool) -> Account:
        """The account after a call that failed so."""
        with pytest.raises(type(error)):
            await self.call(error, **last)
        return self.ledger.account


@pytest.mark.parametrize("price", [0.0, None], ids=["free", "unknown"])
async def test_a_call_that_cannot_be_bounded_in_money_needs_no_account(
    price: float | None,
) -> None:
    model, message = Costing(price), task()
    deadline = Deadline.of(message, limit=10, now=message.sent_at)
    budget = TaskBudget(message, Limits(), deadline, no_account, Clock())
    assert (await budget.spend(model, HELLO, lambda: model.complete(HELLO))).cost == price
    # 5 bytes are 2 tokens, the frame of the message is 4, and the answer may have 7.
    assert model.asked == Usage(6, 7)


async def test_money_is_set_aside_while_the_call_is_under_way_and_settled_after_it() -> None:
    spending = Spending(price=0.2, seconds=120.0)
    assert await spending.call(answer(0.15)) == 0.15
    [held] = spending.held
    assert (held.spent, held.reserved, held.paid("t")) == (0.0, 0.2, 0.0)
    # A minute longer than the attempt may take: the clocks of replicas differ.
    assert held.holds["t"].until == pytest.approx(NOW + 180.0, abs=5)
    assert spending.ledger.account == Account(spent=0.15)


async def test_an_answer_without_a_known_cost_counts_as_was_set_aside() -> None:
    spending = Spending(price=0.2)
    await spending.call(Completion("hello", "m", "stop"))
    assert spending.ledger.account == Account(spent=0.2)


async def test_failed_attempts_before_an_answer_are_paid_too() -> None:
    spending = Spending(price=0.2)
    await spending.call(answer(0.1, failed=0.05))
    assert spending.ledger.account == Account(spent=0.15)


async def test_attempts_of_an_unknown_cost_are_not_guessed() -> None:
    spending = Spending(price=0.2)
    attempts = (
        ModelAttempt(model="a", seconds=1.0),
        ModelAttempt(model="b", seconds=1.0, cost=0.0),
    )
    await spending.call(Completion("hello", "m", "stop", cost=0.1, attempts=attempts))
    assert spending.ledger.account == Account(spent=0.1)


async def test_what_a_task_paid_is_remembered_until_its_last_call() -> None:
    spending = Spending(price=0.2)
    await spending.call(answer(0.1, calls=True))
    after = spending.ledger.account
    assert after.holds == {"t": Hold(amount=0.0, paid=0.1, by="", until=NOW + HOUR)}
    await spending.call(answer(0.1), last=False)
    assert spending.ledger.account.paid("t") == 0.2
    await spending.call(answer(0.1))
    assert spending.ledger.account == Account(spent=0.3)


@pytest.mark.parametrize(
    ("error", "cost"),
    [
        (ModelError("x", code="model_timeout"), 0.2),
        (ModelError("x", code="model_auth"), 0.0),
        (TaskError("x", code="any"), 0.0),
        (asyncio.CancelledError(), 0.2),
        (RuntimeError("a bug"), 0.2),
    ],
    ids=["it may have answered", "it has not answered", "no call was made", "cancelled", "a bug"],
)
async def test_a_call_that_failed_costs_what_it_may_have_cost(
    error: BaseException, cost: float
) -> None:
    assert (await Spending(price=0.2).failure(error)).spent == cost


@pytest.mark.parametrize("code", ["model_timeout", "model_auth"])
async def test_a_failed_call_of_a_known_cost_costs_that(code: str) -> None:
    error = ModelError("x", code=code)
    error.cost = 0.05
    assert await Spending(price=0.2).failure(error) == Account(spent=0.05)


@pytest.mark.parametrize(
    ("retryable", "last", "remembered"),
    [(False, True, 0.0), (True, True, 0.2), (False, False, 0.2), (True, False, 0.2)],
)
async def test_a_failure_that_ends_the_task_is_forgotten_and_any_other_is_remembered(
    retryable: bool, last: bool, remembered: float
) -> None:
    error = ModelError("x", code="model_timeout", retryable=retryable)
    account = await Spending(price=0.2).failure(error, last=last)
    assert (account.spent, account.paid("t")) == (0.2, remembered)


async def test_a_cancelled_call_is_remembered_for_the_next_attempt() -> None:
    account = await Spending(price=0.2).failure(asyncio.CancelledError())
    assert account.paid("t") == 0.2


async def test_a_task_may_spend_its_whole_limit_and_not_a_billionth_more() -> None:
    await Spending(price=1.0, cost=1.0).call()
    error = await Spending(price=1.000_000_001, cost=1.0).refusal()
    assert str(error) == (
        "limits.cost is $1.00: the task has spent $0.00, and this call may cost $1.000000001"
    )


async def test_the_earlier_calls_of_a_task_count_towards_its_limit() -> None:
    spending = Spending(price=0.4, cost=1.0)
    await spending.call(answer(0.4, calls=True))
    await spending.call(answer(0.4, calls=True))
    spending.held.clear()
    error = await spending.refusal()
    assert "the task has spent $0.80, and this call may cost $0.40" in str(error)


async def test_a_sender_may_allow_less_than_the_agent() -> None:
    await Spending(price=0.5, max_cost=0.5).call()
    error = await Spending(price=0.6, max_cost=0.5).refusal()
    assert str(error) == (
        "payload.constraints.maxCost is $0.50: the task has spent $0.00, and this call may cost "
        "$0.60"
    )
    spending = Spending(price=0.3, max_cost=0.5)
    await spending.call(answer(0.3, calls=True))
    spending.held.clear()
    assert "the task has spent $0.30" in str(await spending.refusal())
    nothing = await Spending(price=0.1, max_cost=0.0).refusal()
    assert "maxCost is $0.00" in str(nothing)


async def test_a_conversation_may_spend_its_whole_limit_and_not_more() -> None:
    await Spending(Ledger(Account(spent=9.5)), price=0.5).call()
    error = await Spending(Ledger(Account(spent=9.6)), price=0.5).refusal()
    assert str(error) == (
        "limits.conversation_cost is $10.00: the conversation 'c' has spent $9.60, and this call "
        "may cost $0.50"
    )


def held_by_another(amount: float, until: float = NOW + 60) -> Account:
    return Account().reserve("other", amount, by="1", until=until)


async def test_money_that_others_have_set_aside_is_not_spent_twice() -> None:
    """The attempt has no time left, so it does not wait for the other call."""
    await Spending(Ledger(held_by_another(9.5)), price=0.5, seconds=0).call()
    error = await Spending(Ledger(held_by_another(9.6)), price=0.5, seconds=0).refusal()
    assert str(error) == (
        "limits.conversation_cost is $10.00: the conversation 'c' (with $9.60 reserved for calls "
        "under way) has spent $0.00, and this call may cost $0.50"
    )


async def test_what_was_spent_and_what_is_set_aside_count_together() -> None:
    account = Account(spent=5.0).reserve("other", 4.6, by="1", until=NOW + 60)
    error = await Spending(Ledger(account), price=0.5, seconds=0).refusal()
    assert "(with $4.60 reserved for calls under way) has spent $5.00" in str(error)


async def test_an_error_shows_the_first_100_characters_of_a_conversation() -> None:
    name = "c" * 101
    ledger = Ledger(Account(spent=10.0))
    message, limits = task(conversation=name), Limits(conversation_cost=10)
    deadline = Deadline.of(message, limit=10, now=message.sent_at)
    shared = cast("SharedAccount", ledger)
    budget, model = TaskBudget(message, limits, deadline, lambda: shared, Clock()), Costing(0.1)
    with pytest.raises(Undeliverable) as refused:
        await budget.spend(model, HELLO, lambda: model.complete(HELLO))
    assert f"the conversation '{'c' * 100}' has" in str(refused.value)


@in_virtual_time
async def test_a_call_waits_for_money_that_another_call_gives_back() -> None:
    ledger = Ledger(held_by_another(9.9))
    spending = Spending(ledger, price=0.5, clock=loop_clock)
    calling = asyncio.create_task(spending.call())
    await asyncio.sleep(1.1)
    assert spending.held == []
    ledger.account = ledger.account.settle("other", 1.0, by="1", keep_until=None)
    await calling
    assert loop_clock() == pytest.approx(NOW + 1.25)
    assert ledger.account == Account(spent=1.5)


@in_virtual_time
async def test_a_call_waits_for_money_as_long_as_its_task_has_time() -> None:
    spending = Spending(Ledger(held_by_another(9.9)), price=0.5, seconds=0.9, clock=loop_clock)
    with pytest.raises(Throttled):
        await spending.call()
    assert loop_clock() > NOW + 2


@in_virtual_time
async def test_a_call_that_waits_too_long_for_money_leaves_its_place_to_others() -> None:
    ledger = Ledger(held_by_another(9.9))
    spending = Spending(ledger, price=0.5, clock=loop_clock)
    with pytest.raises(Throttled) as refused:
        await spending.call()
    assert loop_clock() == pytest.approx(NOW + 2.25)
    error = refused.value
    assert (error.code, error.retryable, error.retry_after) == ("budget", True, 1.0)
    assert str(error) == ("what the conversation 'c' has left is reserved for calls under way")
    assert ledger.account == held_by_another(9.9)


async def test_money_that_a_call_of_this_task_left_set_aside_is_written_off() -> None:
    dead = Account().reserve("t", 0.3, by="dead", until=NOW + 60)
    spending = Spending(Ledger(dead), price=0.2)
    await spending.call(answer(0.2, calls=True))
    assert spending.ledger.account.spent == 0.5
    assert spending.ledger.account.paid("t") == 0.5


async def test_money_that_is_set_aside_for_longer_than_its_call_counts_as_spent() -> None:
    overdue = held_by_another(9.0, until=NOW - 1)
    spending = Spending(Ledger(overdue), price=1.0)
    await spending.call()
    assert spending.ledger.account == Account(spent=10.0)


class StoresTwice(Ledger):
    """Loses the acknowledgement of its first change, which the real ledger then makes again."""

    async def change(self, edit: Callable[[Account], Account]) -> None:
        await super().change(edit)
        self.account = edit(self.account)


async def test_money_is_set_aside_once_when_an_acknowledgement_is_lost() -> None:
    spending = Spending(StoresTwice(), price=0.2)
    await spending.call(answer(0.1))
    assert spending.held[0].reserved == 0.2
    assert spending.ledger.account == Account(spent=0.1)


async def test_nothing_is_called_while_the_account_cannot_be_reached() -> None:
    spending = Spending()
    spending.ledger.failing = [BusError("away"), BusError("away")]
    with pytest.raises(BusError):
        await spending.call()
    assert spending.held == []


async def test_a_call_that_was_refused_settles_nothing() -> None:
    """The first attempt set money aside and is still alive: its hold is not ours to settle."""
    before = Account(spent=9.9)
    spending = Spending(Ledger(before), price=0.5)
    await spending.refusal()
    assert spending.ledger.account == before


class LosesTheAnswer(Ledger):
    """Stores its first change, but the answer of the server does not arrive."""

    lost = False

    async def change(self, edit: Callable[[Account], Account]) -> None:
        await super().change(edit)
        if not self.lost:
            self.lost = True
            raise BusError("no answer")


async def test_money_that_was_reserved_for_a_call_that_was_not_made_is_given_back() -> None:
    spending = Spending(LosesTheAnswer(), price=0.2)
    with pytest.raises(BusError):
        await spending.call()
    assert (spending.held, spending.ledger.account) == ([], Account())


async def test_an_answer_is_kept_even_if_its_cost_cannot_be_settled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spending = Spending(price=0.2)

    async def call() -> Completion:
        spending.ledger.failing = [BusError("away")]
        return answer(0.1)

    with caplog.at_level(logging.WARNING):
        assert (await spending.budget.spend(spending.model, HELLO, call)).text == "hello"
    assert caplog.messages == ["the cost of t was not settled: away"]
    assert spending.ledger.account.reserved == 0.2


async def test_what_a_task_may_still_spend() -> None:
    spending = Spending(price=0.2, cost=1.0)
    assert await spending.budget.left() == 1.0
    await spending.call(answer(0.2, calls=True))
    assert await spending.budget.left() == 0.8
    assert await Spending(spending.ledger, cost=1.0, max_cost=0.5).budget.left() == 0.3
    assert await Spending(spending.ledger, cost=0.1, max_cost=0.5).budget.left() == 0.0
    spending.ledger.failing = [BusError("away")]
    with pytest.raises(BusError):
        await spending.budget.left()


async def test_a_call_that_was_never_made_is_free() -> None:
    error = NotCalled("no slot", code="model_timeout", retryable=True)
    assert await Spending(price=0.2).failure(error) == Account()


class NoAccounts:
    """The bus's port, with an empty bucket of accounts. `looks` has the subject of each look."""

    def __init__(self) -> None:
        self.looks: list[str] = []

    async def request(self, subject: str, data: bytes = b"", **_: Any) -> Msg:
        assert subject == "$JS.API.STREAM.MSG.GET.KV_agentd_budgets"
        self.looks.append(json.loads(data)["last_by_subj"])
        await asyncio.sleep(0)
        answer = {"error": {"err_code": 10037, "description": "no message found"}}
        return Msg(_client=cast("Any", None), data=json.dumps(answer).encode())


async def test_the_tasks_of_one_conversation_share_its_account() -> None:
    bus = NoAccounts()
    budgets = Budgets(cast("Bus", bus), "dev", Clock())
    one, two = task(conversation="one"), task(conversation="two")
    deadline = Deadline.of(one, limit=10, now=one.sent_at)
    first, second, other = (
        budgets.of_task(message, Limits(cost=0.5), deadline) for message in (one, one, two)
    )
    # At the same time: an account that no task uses is forgotten.
    left = await asyncio.gather(first.left(), second.left(), other.left())
    assert left == [0.5, 0.5, 0.5]
    assert bus.looks == [account_subject("dev", "one"), account_subject("dev", "two")]


async def test_a_reservation_is_stored_with_its_end_for_all_replicas_to_see() -> None:
    bus, message = MemoryBus(), task()
    budgets = Budgets(cast("Bus", bus), "dev", Clock())
    deadline = Deadline.of(message, limit=10, now=message.sent_at)
    budget, model = budgets.of_task(message, Limits(), deadline), Costing(0.2)
    subject = account_subject("dev", "c")

    async def call() -> Completion:
        stored = bus.streams[BUDGETS].last(subject)
        assert stored
        hold = Account.parse(stored.data).holds["t"]
        assert (hold.amount, hold.paid) == (0.2, 0.0)
        assert hold.until == pytest.approx(NOW + 10 + 60, abs=1)
        assert stored.headers["Nats-TTL"] == "2592000s"  # 30 days
        return answer(0.1)

    await budget.spend(model, HELLO, call)
    stored = bus.streams[BUDGETS].last(subject)
    assert stored
    assert Account.parse(stored.data) == Account(spent=0.1)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.5, "$0.50"),
        (5, "$5.00"),
        (0.000123, "$0.000123"),
        (1234.5, "$1,234.50"),
        (100.0, "$100.00"),
    ],
)
def test_money_as_people_write_it(amount: float, text: str) -> None:
    assert usd(amount) == text
