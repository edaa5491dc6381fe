"""What tasks and conversations may spend: set aside before a model is called, settled after it.

A conversation's account is one key of a bucket, changed by compare-and-set alone, so that all
replicas spend from one sum. A call whose price is not known cannot be bounded in money, and one
that is free costs no look at any account.
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

_WAIT = 2.0  # seconds that a task waits in its place for money that others have set aside
_MARGIN = 60.0  # seconds that a hold outlives its call's deadline: clocks differ
_BETWEEN_CALLS = 3600.0  # seconds that a task's cost is remembered for its next turn or attempt


class Budgets:
    """The accounts of an environment's conversations. `clock` gives seconds since the epoch."""

    def __init__(self, bus: Bus, env: str, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._env = env
        self._clock = clock
        self._ledgers: WeakValueDictionary[str, SharedAccount] = WeakValueDictionary()

    def of_task(self, message: AgentMessage, limits: Limits, deadline: Deadline) -> TaskBudget:
        """What this task may spend."""
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
    """One task's right to spend: of its own limit and of its conversation's."""

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
        """Makes the `call`, its price set aside before and settled after.

        What the task has paid is forgotten with its `last` call, unless that asks for tools. Where
        only calls under way stand in the way, it waits for them a while.

        Raises:
            Throttled: they are still under way.
            Undeliverable: it may cost more than the task or its conversation has left (`budget`).
            BusError: the account cannot be reached; nothing was called.
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
        """USD that the task may still spend, as far as the other replicas have told.

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
        """Sets money aside, or writes off what those who are gone had set aside for this task."""
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
        """Whether the call can be paid for now, not only when calls under way are settled.

        Raises:
            Undeliverable: it cannot.
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
            who += f" (with {usd(account.reserved)} set aside for calls under way)"
            raise self._refusal(limit, who, account.spent, asked)
        return True

    def _not_yet(self) -> Throttled:
        """The task leaves its place to others: among them may be the one that is waited for, which
        a process that died has set money aside for."""
        return Throttled(
            f"what the conversation {self._conversation[:100]!r} has left is set aside for calls "
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
            # The answer is dearer than an exact account: in time the hold counts as spent.
            log.warning("the cost of %s was not settled: %s", self._task, error)


def _cost_of_failure(error: BaseException, asked: float) -> float:
    """What a call that ended so may have cost."""
    if isinstance(error, ModelError):
        likely = asked if error.may_cost else 0.0
        return likely if error.cost is None else total(error.cost)
    return 0.0 if isinstance(error, TaskError) else asked


def usd(amount: float) -> str:
    """`$0.50`, `$0.000123`."""
    whole, _, cents = f"{amount:,.9f}".rstrip("0").partition(".")
    return f"${whole}.{cents.ljust(2, '0')}"
