"""The account of a conversation: what it has spent, and what is reserved for calls under way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Self, TypeAlias

from agentd.nats.bus import Bus
from agentd.nats.shared_value import Shared
from agentd.nats.streams import BUDGETS
from agentd.protocol.server_subjects import bucket
from agentd.protocol.shape import Shape
from agentd.protocol.strict_json import MAX_BYTES
from agentd.protocol.subjects import digest

# Digits that dollars are rounded to: as plain floats, three times $0.10 is more than $0.30.
_DIGITS = 9


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Money reserved for one task.

    Attributes:
        amount: USD for the call under way; 0 between two calls.
        paid: USD that its earlier calls have cost, as known or as estimated.
        by: a random mark of the delivery that reserved it; a redelivery has another one.
        until: when it counts as spent, unless it is settled, in seconds since the epoch.
    """

    amount: float
    paid: float
    by: str
    until: float


@dataclass(frozen=True)
class _Stored:
    """An account as `Account.dump` writes it."""

    spent: float
    reserved: dict[str, Hold]


_stored: Shape[_Stored] = Shape(_Stored, most=MAX_BYTES)


@dataclass(frozen=True, kw_only=True)
class Account:
    """The money of one conversation in USD; `holds` by task id.

    A hold that is never settled counts as spent: the replica that died may have paid for its call.
    """

    spent: float = 0.0
    holds: Mapping[str, Hold] = field(default_factory=dict[str, Hold])

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The account that `dump` wrote; an empty one for no bytes.

        Raises:
            DecodeError: `dump` did not write it.
        """
        if not data:
            return cls()
        raw = _stored.parse(data)
        return cls(spent=raw.spent, holds=raw.reserved)

    def dump(self) -> bytes:
        """`{"spent", "reserved": {task id: {"amount", "paid", "by", "until"}}}`."""
        holds = {task: asdict(held) for task, held in self.holds.items()}
        return json.dumps({"spent": self.spent, "reserved": holds}).encode()

    @property
    def reserved(self) -> float:
        """USD reserved for calls under way."""
        return total(*(hold.amount for hold in self.holds.values()))

    def paid(self, task: str) -> float:
        """USD that the calls of this task have cost so far."""
        return self.holds[task].paid if task in self.holds else 0.0

    def takes_over(self, task: str, now: float) -> Account:
        """This account when a new delivery of the task begins: the task's old hold counts as spent,
        and so does every hold that is overdue at `now`."""
        account = self
        for name, hold in self.holds.items():
            if name == task and hold.amount:
                # This is a new delivery: the one that reserved the money ended without settling it.
                paid = total(hold.paid, hold.amount)
                account = account._with(name, replace(hold, amount=0.0, paid=paid), hold.amount)
            elif name != task and hold.until < now:
                account = account._with(name, None, hold.amount)
        return account

    def reserve(self, task: str, amount: float, *, by: str, until: float) -> Account:
        """This account with `amount` reserved for a call of the task."""
        return self._with(task, Hold(amount=amount, paid=self.paid(task), by=by, until=until), 0.0)

    def settle(self, task: str, cost: float, *, by: str, keep_until: float | None) -> Account:
        """This account after a call that `by` reserved money for, and that cost `cost`.

        Returns the account unchanged if the hold was settled or written off before. With
        `keep_until`, what the task has cost is remembered until then, for its next attempt.
        """
        hold = self.holds.get(task)
        if hold is None or hold.by != by:
            return self
        paid = total(hold.paid, cost)
        if keep_until is None or not paid:
            return self._with(task, None, cost)
        return self._with(task, Hold(amount=0.0, paid=paid, by="", until=keep_until), cost)

    def _with(self, task: str, hold: Hold | None, spent: float) -> Account:
        others = {name: other for name, other in self.holds.items() if name != task}
        holds = others if hold is None else {**others, task: hold}
        return Account(spent=total(self.spent, spent), holds=holds)


def total(*amounts: float) -> float:
    """The sum in USD, rounded to whole billionths."""
    return round(sum(amounts), _DIGITS)


SharedAccount: TypeAlias = Shared[Account]


_FORGET = 30 * 86400  # seconds without a call until a conversation's account is dropped


def account_subject(env: str, conversation: str) -> str:
    """The subject of a conversation's account."""
    return bucket(BUDGETS, env, digest(conversation))


def shared_account(bus: Bus, subject: str) -> SharedAccount:
    """The account on this subject."""
    return Shared(bus, BUDGETS, subject, parse=Account.parse, ttl=_FORGET)
