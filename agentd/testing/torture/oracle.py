"""Holds what was accepted against what is on record, and says which promise is broken."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

# A call that began just before another replica's result was stored is no waste; clocks are one.
SLACK = 0.25  # seconds
_ROUNDING = 1e-9  # USD
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class SeenOutcome:
    """A result on record. `at` is when the server stored it, in seconds since the epoch."""

    at: float
    success: bool
    code: str | None = None
    revision: str = ""


@dataclass(frozen=True, kw_only=True)
class SeenDeadLetter:
    """A dead letter on record."""

    reason: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Spending:
    """A conversation's money in USD: what the model served it, and what its account says of that
    (what is set aside counts as spent)."""

    served: float
    accounted: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known when everything is at rest; all but the last three by the task's id.

    Attributes:
        tried: every task that a publish was tried for.
        accepted: those that the server acknowledged.
        logged: how many messages of LOG are this task (forwarded copies not counted).
        outcomes, letters: in the order of LOG.
        calls: when the model was called for it, in seconds since the epoch.
        spending: by conversation, where models cost money.
        waiting: messages left in WORK.
        unacknowledged: deliveries that nobody settled.
        deliveries: what the consumers of WORK handed out, as far as they still know.
    """

    tried: Collection[str]
    accepted: Collection[str]
    logged: Mapping[str, int]
    outcomes: Mapping[str, Sequence[SeenOutcome]]
    letters: Mapping[str, Sequence[SeenDeadLetter]] = field(
        default_factory=dict[str, Sequence[SeenDeadLetter]]
    )
    calls: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    spending: Mapping[str, Spending] = field(default_factory=dict[str, Spending])
    waiting: int = 0
    unacknowledged: int = 0
    deliveries: int = 0


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What a scenario lets happen.

    Attributes:
        extra_calls: model calls beyond one a task: kills x tasks in flight.
        late_calls: tasks called for again after their result was there: a process that stood still
            between looking for the result and calling the model cannot know.
        dead: the tasks that must end in the dead letters, and the reason.
        failing: further tasks whose outcome is an error.
        budget: USD that a conversation may spend.
        log_lost: the log itself was deleted, and with it what it held.
        sent_twice: tasks may be in the log twice: a server that dies between sending what is due
            and forgetting it sends it again.
    """

    extra_calls: int = 0
    late_calls: int = 0
    dead: Mapping[str, str] = field(default_factory=dict[str, str])
    failing: Collection[str] = ()
    budget: float = math.inf
    log_lost: bool = False
    sent_twice: bool = False


@dataclass(frozen=True)
class Judgement:
    """The figures of a scenario, and each broken promise in a sentence."""

    figures: Mapping[str, int]
    broken: tuple[str, ...]


def judge(seen: Evidence, allowed: Allowed) -> Judgement:
    """Applies every invariant of the message path."""
    accepted = set(seen.accepted)
    doubled = [task for task, outcomes in seen.outcomes.items() if len(outcomes) > 1]
    lost = sorted(accepted - seen.outcomes.keys())
    extra = sum(max(0, len(calls) - 1) for calls in seen.calls.values())
    late = _late_calls(seen)
    findings = [
        ("were lost: accepted, and without an outcome", lost),
        ("have two outcomes", doubled),
        ("have an outcome, but nobody sent them", sorted(seen.outcomes.keys() - set(seen.tried))),
        ("were paid for again after their result was there", late[allowed.late_calls :]),
        ("ended as they should not", _failures(seen, allowed)),
        *_log_findings(seen, accepted, allowed),
        *_letter_findings(seen, allowed),
    ]
    broken = [_sentence(tasks, what) for what, tasks in findings if tasks]
    broken += _money_findings(seen, allowed)
    if extra > allowed.extra_calls:
        broken.append(f"{extra} model calls too many, {allowed.extra_calls} would be explained")
    if seen.waiting:
        broken.append(f"{seen.waiting} messages are still in WORK")
    if seen.unacknowledged:
        broken.append(f"{seen.unacknowledged} deliveries were never settled")
    figures = {
        "tasks": len(accepted),
        "lost": len(lost),
        "doubled": len(doubled),
        "extra_calls": extra,
        "dead_letters": sum(map(len, seen.letters.values())),
    }
    return Judgement(figures, tuple(broken))


def _late_calls(seen: Evidence) -> list[str]:
    return [
        task
        for task, calls in seen.calls.items()
        if task in seen.outcomes and max(calls) > seen.outcomes[task][0].at + SLACK
    ]


def _failures(seen: Evidence, allowed: Allowed) -> list[str]:
    return [
        f"{task} ({outcomes[0].code})"
        for task, outcomes in seen.outcomes.items()
        if outcomes[0].success == (task in allowed.dead or task in allowed.failing)
    ]


def _log_findings(
    seen: Evidence, accepted: set[str], allowed: Allowed
) -> list[tuple[str, list[str]]]:
    doubled = [task for task, count in seen.logged.items() if count > 1]
    found: list[tuple[str, list[str]]] = []
    if not allowed.sent_twice:
        found.append(("are in the log twice: a repeated publish was stored again", doubled))
    if not allowed.log_lost:
        gone = sorted(accepted - seen.logged.keys())
        found.append(("were acknowledged, but are not in the log", gone))
    return found


def _letter_findings(seen: Evidence, allowed: Allowed) -> list[tuple[str, list[str]]]:
    wrong: list[str] = []
    for task, reason in allowed.dead.items():
        reasons = [letter.reason for letter in seen.letters.get(task, ())]
        if reasons != [reason]:
            wrong.append(f"{task} ({', '.join(reasons) or 'no letter'} instead of {reason})")
    buried = [
        f"{task} ({letters[0].reason or 'no reason'})"
        for task, letters in seen.letters.items()
        if task not in allowed.dead
    ]
    cheerful = [
        task
        for task in seen.letters
        if any(outcome.success for outcome in seen.outcomes.get(task, ()))
    ]
    return [
        ("should each have one dead letter", wrong),
        ("are in the dead letters for no reason of this scenario", buried),
        ("have a dead letter and an answer", cheerful),
    ]


def _money_findings(seen: Evidence, allowed: Allowed) -> list[str]:
    over = [
        name
        for name, money in seen.spending.items()
        if max(money.served, money.accounted) > allowed.budget + _ROUNDING
    ]
    unaccounted = [
        name for name, money in seen.spending.items() if money.served > money.accounted + _ROUNDING
    ]
    found = [("spent more than they may", over), ("were served what is not accounted", unaccounted)]
    return [_sentence(names, what, "conversations") for what, names in found if names]


def _sentence(tasks: Sequence[str], what: str, of: str = "tasks") -> str:
    shown = ", ".join(tasks[:_SHOWN]) + (", …" if len(tasks) > _SHOWN else "")
    return f"{len(tasks)} {of} {what}: {shown}"
