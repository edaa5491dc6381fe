"""Which messages of the log were erased on purpose: the field `erased` of an event of agentd.

The audit keeps the digest of every message. A message that is gone counts as erased, and not as
stolen, only if such an event names its sequence. Agents cannot emit events of these domains.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from agentd.protocol.subjects import Subject

FIELD: Final = "erased"
# `event.dlq.retried` and `dropped`; `event.conversation.forgotten`.
DOMAINS: Final = frozenset({"dlq", "conversation"})

_MOST = 10_000  # ranges of one event that are read
_HIGHEST = 2**53


def ranges(sequences: Iterable[int]) -> list[list[int]]:
    """The value of the field: the first and the last sequence of each run, ascending."""
    found: list[list[int]] = []
    for sequence in sorted(set(sequences)):
        if found and found[-1][1] == sequence - 1:
            found[-1][1] = sequence
        else:
            found.append([sequence, sequence])
    return found


def may_erase(subject: Subject) -> bool:
    """Whether an event on this subject says what was erased."""
    return subject.type == "event" and subject.domain in DOMAINS


def named(content: Any) -> tuple[tuple[int, int], ...]:
    """The ranges in the content of such an event. Any client may write one."""
    ranges = cast("dict[str, Any]", content).get(FIELD) if isinstance(content, dict) else None
    listed = cast("list[Any]", ranges)[:_MOST] if isinstance(ranges, list) else []
    return tuple((each[0], each[1]) for each in listed if _is_range(each))


def _is_range(value: Any) -> bool:
    match value:
        case [int(first), int(last)]:
            return 0 < first <= last < _HIGHEST
        case _:
            return False
