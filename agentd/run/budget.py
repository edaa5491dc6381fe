"""Budgets: money is reserved before a model is called, and settled after the call.

The account of a conversation is one key of a bucket, changed by compare-and-set only, so that all
replicas spend from one sum. A call whose price is unknown cannot be bounded in money. A call that
is free does not read the account.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from agentd.errors import BusError, ModelError, TaskError, Throttled, Undeliverable
from agentd.manifest.agent import Limits
from agentd.models.estimate import expected
from agentd.models.port import ChatRequest, Completion, Model
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentMessage
from agentd.run.account import Account, SharedAccount, account_subject, shared_account, total
from agentd.run.deadline import Deadline

log = logging.getLogger(__name__)

_WAIT = 2.0  # seconds that a task keeps its slot while other tasks hold the money it needs
_MARGIN = 60.0  # seconds that a hold outlives its call's deadline: clocks differ
_BETWEEN_CALLS = 3600.0  # seconds that the cost of a task is kept for its next turn or attempt


class Budgets:
    """The accounts of all conversations of an environment. `clock` gives Unix seconds."""

    def __init__(self, bus: Bus, env: str, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._env = env
        self._clock = clock
        self._ledgers: WeakValueDictionary[str, SharedAccount] = WeakValueDictionary()

    def of_task(self, message: AgentMessage, limits: Limits, deadline: Deadline) -> TaskBudget:
        """The budget of this task."""
        conversation = message.context.conversation_id
        return TaskBudget(
            message, limits, deadline, lambda: self._ledger(conversation), self._clock
        )

    def _ledger(self, conversation: str) -> SharedAccount:
        subject = account_subject(self._env, conversation)
        ledger = self._ledgers.get(subject)
        if ledger is None:
            ledger = self._ledgers[subject] = shared_account(self._bus, subject)
        return ledger


class TaskBudget:
    """What one task may spend, under its own limit and that of its conversation."""

    def __init__(
        self,
        message: AgentMessage,
        limits: Limits,
        deadline: Deadline,
        ledger: Callable[[], SharedAccount],
        clock: Callable[[], float],
    ) -> None:
        self._task = message.id
        self._conversation = message.context.conversation_id
        self._max_cost = message.payload.constraints.max_cost
        self._limits = limits
        self._deadline = deadline
        self._ledger = ledger
        self._clock = clock

    async def spend(
        self,
        model: Model,
        request: ChatRequest,
        call: Callable[[], Awaitable[Completion]],
        *,
        last: bool = True,
    ) -> Completion:
        """Makes the `call`: reserves its expected price before, and settles its cost after.

        The account forgets what the task has paid with its `last` call, unless that call asks for
        tools. If only the calls of other tasks hold the money, this waits a moment for them.

        Raises:
            Throttled: those calls are still under way.
            Undeliverable: the call may cost more than the task or its conversation has left
                (`budget`).
            BusError: the account cannot be reached; the model was not called.
        """
        asked = model.cost_of(expected(request))
        if not asked:
            return await call()
        asked = total(asked)
        ledger, by, called = self._ledger(), secrets.token_hex(4), False
        try:
            await self._reserve(ledger, asked, by)
            called = True
            completion = await call()
        except BaseException as error:
            cost = _cost_of_failure(error, asked) if called else 0.0
            ends = last and isinstance(error, TaskError) and not error.retryable
            await self._settle(ledger, cost, by, ends=ends)
            raise
        answered = asked if completion.cost is None else completion.cost
        cost = total(answered, *(each.cost or 0.0 for each in completion.attempts))
        # A call for tools is followed by another turn of the same task.
        await self._settle(ledger, cost, by, ends=last and not completion.tool_calls)
        return completion

    async def left(self) -> float:
        """USD that the task may still spend, according to the shared account.

        Raises:
            BusError: the account cannot be reached.
        """
        paid = 0.0

        def look(account: Account) -> Account:
            nonlocal paid
            paid = account.paid(self._task)
            return account

        await self._ledger().change(look)
        most = self._limits.cost
        if self._max_cost is not None:
            most = min(most, self._max_cost)
        return max(0.0, most - paid)

    async def _reserve(self, ledger: SharedAccount, asked: float, by: str) -> None:
        """Reserves money, and writes off what an earlier delivery had reserved for this task."""
        reserved, refusal = False, None

        def reserve(account: Account) -> Account:
            nonlocal reserved, refusal
            reserved, refusal = False, None
            mine = account.holds.get(self._task)
            if mine is not None and mine.by == by:
                reserved = True
                return account  # stored by a try whose acknowledgement was lost
            now = self._clock()
            account = account.takes_over(self._task, now)
            try:
                reserved = self._has_room(account, asked)
            except Undeliverable as error:
                refusal = error
            if not reserved:
                return account
            until = now + self._deadline.left + _MARGIN
            return account.reserve(self._task, asked, by=by, until=until)

        waits_until = self._clock() + _WAIT
        while True:
            await ledger.change(reserve)
            if refusal:
                raise refusal
            if reserved:
                return
            if self._clock() > waits_until:
                raise self._not_yet()
            await ledger.changed()

    def _has_room(self, account: Account, asked: float) -> bool:
        """Whether the money is there now; false means once the calls under way are settled.

        Raises:
            Undeliverable: the money will not be there.
        """
        limits, paid = self._limits, account.paid(self._task)
        if total(paid, asked) > limits.cost:
            raise self._refusal(f"limits.cost is {usd(limits.cost)}", "the task", paid, asked)
        if self._max_cost is not None and total(paid, asked) > self._max_cost:
            limit = f"payload.constraints.maxCost is {usd(self._max_cost)}"
            raise self._refusal(limit, "the task", paid, asked)
        limit = f"limits.conversation_cost is {usd(limits.conversation_cost)}"
        who = f"the conversation {self._conversation[:100]!r}"
        if total(account.spent, asked) > limits.conversation_cost:
            raise self._refusal(limit, who, account.spent, asked)
        if total(account.spent, account.reserved, asked) > limits.conversation_cost:
            if self._deadline.left > 0:
                return False
            who += f" (with {usd(account.reserved)} reserved for calls under way)"
            raise self._refusal(limit, who, account.spent, asked)
        return True

    def _not_yet(self) -> Throttled:
        """The task gives up its slot. The slot may be needed by the very task whose hold is waited
        for: one that a dead process has left, and that is delivered again."""
        return Throttled(
            f"what the conversation {self._conversation[:100]!r} has left is reserved for calls "
            "under way",
            code="budget",
            retryable=True,
            retry_after=1.0,
        )

    @staticmethod
    def _refusal(limit: str, who: str, spent: float, asked: float) -> Undeliverable:
        text = f"{limit}: {who} has spent {usd(spent)}, and this call may cost {usd(asked)}"
        return Undeliverable(text, code="budget")

    async def _settle(self, ledger: SharedAccount, cost: float, by: str, *, ends: bool) -> None:
        keep_until = None if ends else self._clock() + _BETWEEN_CALLS
        try:
            await ledger.change(
                lambda account: account.settle(self._task, cost, by=by, keep_until=keep_until)
            )
        except BusError as error:
            # Better an inexact account than a lost answer: the hold counts as spent in time.
            log.warning("the cost of %s was not settled: %s", self._task, error)


def _cost_of_failure(error: BaseException, asked: float) -> float:
    """What a failed call may have cost, in USD."""
    if isinstance(error, ModelError):
        likely = asked if error.may_cost else 0.0
        return likely if error.cost is None else total(error.cost)
    return 0.0 if isinstance(error, TaskError) else asked


def usd(amount: float) -> str:
    """`$0.50`, `$0.000123`."""
    whole, _, cents = f"{amount:,.9f}".rstrip("0").partition(".")
    return f"${whole}.{cents.ljust(2, '0')}"
