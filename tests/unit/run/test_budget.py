"""What a task pays for, and what it need not look at any account for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.agent import Limits
from agentd.models.port import ChatRequest, Completion, Usage
from agentd.protocol.message import AgentIdentity, new
from agentd.run.account import SharedAccount
from agentd.run.budget import TaskBudget, usd
from agentd.run.deadline import Deadline

HELLO = ChatRequest([{"role": "user", "content": "hello"}], {}, 10)


class Costing:
    """A model at a price for each call."""

    name = "mock/costing"
    is_mock = True

    def __init__(self, price: float | None) -> None:
        self.price = price

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        return Completion("hello", self.name, "stop", cost=self.price)

    def cost_of(self, usage: Usage) -> float | None:
        return self.price

    async def close(self) -> None: ...


def no_account() -> SharedAccount:
    raise LookupError("an account was looked at")


@pytest.mark.parametrize("price", [0.0, None], ids=["free", "unknown"])
async def test_what_cannot_be_bounded_in_money_needs_no_account(price: float | None) -> None:
    assert await pay(Costing(price)) == price


async def test_what_costs_needs_one() -> None:
    with pytest.raises(LookupError):
        await pay(Costing(0.1))


async def pay(model: Costing) -> float | None:
    message, limits = new("task", "x", source=AgentIdentity(id="test")), Limits()
    deadline = Deadline.of(message, limit=10, now=message.sent_at)
    budget = TaskBudget(message, limits, deadline, no_account, lambda: 0.0)
    return (await budget.spend(model, HELLO, lambda: model.complete(HELLO))).cost


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0.00"), (0.5, "$0.50"), (5, "$5.00"), (0.000123, "$0.000123"), (1234.5, "$1,234.50")],
)
def test_money_as_people_write_it(amount: float, text: str) -> None:
    assert usd(amount) == text
