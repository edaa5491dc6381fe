"""Models that cost money, and conversations with a budget."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from agentd.nats import jetstream
from agentd.nats.streams import BUDGETS
from agentd.run.account import Account, account_subject, total
from agentd.testing.torture.evidence import collect
from agentd.testing.torture.harness import ENV, IN_FLIGHT, World
from agentd.testing.torture.oracle import Allowed, Spending
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft
from agentd.testing.torture.shocks import shocks, victim

_WORDS = 20  # of the stub's answer; `max_tokens` is the same
_PRICE = 500  # USD for a million output tokens; input tokens cost nothing
_CALL = _WORDS * _PRICE / 1e6
_LIMIT = 5 * _CALL
_TASKS = 10  # of a conversation: twice as many as it can pay for


async def spend(world: World, size: Size) -> None:
    """kill -9 while conversations spend: none exceeds its budget, every call is accounted for."""
    model = {**world.model(), "price": {"input": 0, "output": _PRICE}}
    world.agent(
        model=model,
        parameters={"max_tokens": _WORDS},
        limits={"concurrency": IN_FLIGHT, "conversation_cost": _LIMIT},
    )
    replicas = await world.up(2)

    async with world.sending(size.tasks, lambda number: _draft(number // _TASKS)):
        async for _ in shocks(world, size.shocks, size.tasks // 2):
            await (await victim(world, replicas, "a kill")).again()
    await world.at_rest()
    spending = await _spending(world)
    letters = (await collect(world.bus, world.subjects, world.sender, world.calls)).dead_letters
    dead = dict.fromkeys(letters, "budget")
    seen = await world.judge(
        Allowed(extra_calls=size.shocks * IN_FLIGHT, dead=dead, budget=_LIMIT),
        lambda seen: replace(seen, spending=spending),
    )
    world.findings.figures["spent"] = total(*(each.served for each in seen.spending.values()))
    world.findings.require(bool(dead), "no conversation reached its limit")


def _draft(conversation: int) -> TaskDraft:
    return TaskDraft(fields={"context": {"conversationId": f"c{conversation}"}})


async def _spending(world: World) -> dict[str, Spending]:
    """The calls that the model served to each conversation, and what its account says."""
    served: defaultdict[str, int] = defaultdict(int)
    for task, draft in world.sender.drafts.items():
        conversation = (draft.fields or {})["context"]["conversationId"]
        served[conversation] += len(world.calls.times.get(task, ()))
    found: dict[str, Spending] = {}
    for conversation, calls in served.items():
        _, data = await jetstream.newest(world.bus, BUDGETS, account_subject(ENV, conversation))
        account = Account.parse(data)
        found[conversation] = Spending(
            served=total(calls * _CALL), accounted=total(account.spent, account.reserved)
        )
    return found
