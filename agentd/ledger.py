"""What each conversation has spent, shared by the replicas."""

from __future__ import annotations

from typing import TypeAlias

from agentd.nats.bus import Bus
from agentd.nats.shared_value import Shared
from agentd.nats.streams import BUDGETS, bucket
from agentd.protocol.subjects import digest
from agentd.run.account import Account

Ledger: TypeAlias = Shared[Account]

_FORGET = 30 * 86400  # seconds without a call until a conversation's account is dropped


def key(env: str, conversation: str) -> str:
    """The subject of a conversation's account."""
    return f"{bucket(BUDGETS)}.{env}.{digest(conversation)}"


def ledger_at(bus: Bus, subject: str) -> Ledger:
    """The account on this subject."""
    return Shared(bus, BUDGETS, subject, parse=Account.parse, ttl=_FORGET)
