"""A conversation's account when a process has died that had set money aside in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from agentd.errors import Throttled, Undeliverable
from agentd.manifest.agent import Limits
from agentd.models.port import ChatRequest, Completion, Usage
from agentd.protocol.message import AgentIdentity, Context, new
from agentd.run import budget
from agentd.run.account import account_subject, shared_account
from agentd.run.budget import Budgets
from agentd.run.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.nats.bus import Bus
    from agentd.run.account import SharedAccount

HELLO = ChatRequest([{"role": "user", "content": "hello"}], {}, 10)
CALL = 0.01


class Costing:
    """A model at a cent a call."""

    name = "mock/costing"
    is_mock = True

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        return Completion("hello", self.name, "stop", cost=CALL)

    def cost_of(self, usage: Usage) -> float | None:
        return CALL

    async def close(self) -> None: ...


async def pay(bus: Bus, env: str, task: str) -> Completion:
    source, context = AgentIdentity(id="test"), Context(conversation_id="c")
    message = new("task", "x", source=source, id=task, context=context)
    deadline = Deadline.of(message, limit=60, now=message.sent_at)
    limits, model = Limits(conversation_cost=2 * CALL), Costing()
    budget = Budgets(bus, env).of_task(message, limits, deadline)
    return await budget.spend(model, HELLO, lambda: model.complete(HELLO))


async def dies_after_reserving(bus: Bus, env: str, *tasks: str) -> SharedAccount:
    account = shared_account(bus, account_subject(env, "c"))
    for task in tasks:
        until = time.time() + 600
        await account.change(lambda a, t=task, u=until: a.reserve(t, CALL, by="dead", until=u))
    return account


async def test_what_a_dead_process_set_aside_is_written_off_with_a_refusal(
    bus: Bus, env: str
) -> None:
    await dies_after_reserving(bus, env, "t1")
    await pay(bus, env, "t2")
    with pytest.raises(Undeliverable, match=r"has spent \$0\.02"):
        await pay(bus, env, "t1")
    with pytest.raises(Undeliverable, match=r"has spent \$0\.02"):  # and nobody waits for it
        await pay(bus, env, "t3")


async def test_those_that_wait_for_one_another_all_come_to_an_end(
    bus: Bus, env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "_WAIT", 0.0)
    await dies_after_reserving(bus, env, "t1", "t2")
    with pytest.raises(Throttled):
        await pay(bus, env, "t1")
    for task in ("t2", "t1"):
        with pytest.raises(Undeliverable, match=r"has spent \$0\.02"):
            await pay(bus, env, task)


async def test_whoever_waits_for_others_leaves_its_place(
    bus: Bus, env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "_WAIT", 0.0)
    await dies_after_reserving(bus, env, "t1", "t2")
    with pytest.raises(Throttled, match="reserved for calls under way") as caught:
        await pay(bus, env, "t3")
    assert caught.value.retryable
