"""Compares what a scenario has left with the promises of agentd, and reports the broken ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

# Seconds that a call may begin after the result of another replica was stored: between the look for
# a result and the call, the other result may arrive. All processes share one clock.
SLACK = 0.25
_ROUNDING = 1e-9  # USD
_SHOWN = 3  # task ids in a sentence


@dataclass(frozen=True, kw_only=True)
class SeenOutcome:
    """A result in the log. `at` is when the server stored it, in seconds since the epoch."""

    at: float
    success: bool
    code: str | None = None
    revision: str = ""


@dataclass(frozen=True, kw_only=True)
class SeenDeadLetter:
    """A dead letter in the log."""

    reason: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Spending:
    """The money of one conversation, in USD.

    Attributes:
        served: the price of the calls that the model answered.
        accounted: what its account says was spent; money that is still reserved counts as spent.
    """

    served: float
    accounted: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a scenario has left once nothing runs any more. The keys of mappings are task ids.

    Attributes:
        tried: every task that the sender tried to publish.
        accepted: the tasks that the server acknowledged.
        logged: how many messages of the log are this task, without forwarded copies.
        outcomes: the results of a task, in the order of the log.
        dead_letters: the dead letters of a task, in the order of the log.
        calls: when the model was called for a task, in seconds since the epoch.
        spending: by conversation instead of by task; empty where models cost no money.
        waiting: how many messages are left in the work queue.
        unacknowledged: how many deliveries were never settled.
        deliveries: how many deliveries the consumers of the work queue made. A consumer that was
            created again counts from 0.
    """

    tried: Collection[str]
    accepted: Collection[str]
    logged: Mapping[str, int]
    outcomes: Mapping[str, Sequence[SeenOutcome]]
    dead_letters: Mapping[str, Sequence[SeenDeadLetter]] = field(
        default_factory=dict[str, Sequence[SeenDeadLetter]]
    )
    calls: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    spending: Mapping[str, Spending] = field(default_factory=dict[str, Spending])
    waiting: int = 0
    unacknowledged: int = 0
    deliveries: int = 0


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Deviations that a scenario explains.

    Attributes:
        extra_calls: model calls beyond one for each task. A kill repeats the calls of the tasks
            that were in flight.
        late_calls: how many tasks may have a call after their result was stored. A process that
            was paused between the look for a result and the call of the model causes one.
        dead: the tasks that must end with a dead letter, and its reason.
        failing: further tasks whose outcome is an error.
        slack: seconds after the result at which a call is not late yet.
        budget: USD that a conversation may spend.
        log_lost: the log was deleted, and the messages in it are lost.
        sent_twice: tasks may be in the log twice: a server that dies after it has published a
            scheduled message, but before it has deleted the schedule, publishes it again.
    """

    extra_calls: int = 0
    late_calls: int = 0
    dead: Mapping[str, str] = field(default_factory=dict[str, str])
    failing: Collection[str] = ()
    slack: float = SLACK
    budget: float = math.inf
    log_lost: bool = False
    sent_twice: bool = False


@dataclass(frozen=True)
class Judgement:
    """The figures of a scenario, and a sentence for each broken promise."""

    figures: Mapping[str, int]
    broken: tuple[str, ...]


def judge(seen: Evidence, allowed: Allowed) -> Judgement:
    """Checks every promise about tasks and money."""
    accepted = set(seen.accepted)
    doubled = [task for task, outcomes in seen.outcomes.items() if len(outcomes) > 1]
    lost = sorted(accepted - seen.outcomes.keys())
    extra = sum(max(0, len(calls) - 1) for calls in seen.calls.values())
    # Each list of tasks becomes one sentence; an empty list is a promise that was kept.
    late = _late_calls(seen, allowed.slack)
    findings = [
        ("were lost: they were accepted, but have no outcome", lost),
        ("have two outcomes", doubled),
        ("have an outcome, but were never sent", sorted(seen.outcomes.keys() - set(seen.tried))),
        ("had a model call after their result was stored", late[allowed.late_calls :]),
        ("ended with the wrong outcome", _failures(seen, allowed)),
        *_log_findings(seen, accepted, allowed),
        *_dead_letter_findings(seen, allowed),
    ]
    broken = [_sentence(tasks, what) for what, tasks in findings if tasks]
    broken += _money_findings(seen, allowed)
    if extra > allowed.extra_calls:
        broken.append(f"{extra} extra model calls, but only {allowed.extra_calls} are explained")
    if seen.waiting:
        broken.append(f"{seen.waiting} messages are still in the work queue")
    if seen.unacknowledged:
        broken.append(f"{seen.unacknowledged} deliveries were never settled")
    figures = {
        "tasks": len(accepted),
        "lost": len(lost),
        "doubled": len(doubled),
        "extra_calls": extra,
        "dead_letters": sum(map(len, seen.dead_letters.values())),
    }
    return Judgement(figures, tuple(broken))


def _late_calls(seen: Evidence, slack: float) -> list[str]:
    return [
        task
        for task, calls in seen.calls.items()
        # A lost task has no outcome; that is another sentence.
        if task in seen.outcomes and max(calls) > seen.outcomes[task][0].at + slack
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
        found.append(("are in the log twice: a repeated publish was stored twice", doubled))
    if not allowed.log_lost:
        missing = sorted(accepted - seen.logged.keys())
        found.append(("were acknowledged, but are not in the log", missing))
    return found


def _dead_letter_findings(seen: Evidence, allowed: Allowed) -> list[tuple[str, list[str]]]:
    wrong: list[str] = []
    for task, reason in allowed.dead.items():
        reasons = [letter.reason for letter in seen.dead_letters.get(task, ())]
        if reasons != [reason]:
            wrong.append(f"{task} ({', '.join(reasons) or 'none'} instead of {reason})")
    unexplained = [
        f"{task} ({letters[0].reason or 'no reason'})"
        for task, letters in seen.dead_letters.items()
        if task not in allowed.dead
    ]
    answered = [
        task
        for task in seen.dead_letters
        if any(outcome.success for outcome in seen.outcomes.get(task, ()))
    ]
    return [
        ("do not have exactly the expected dead letter", wrong),
        ("have a dead letter that the scenario does not explain", unexplained),
        ("have both a dead letter and an answer", answered),
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
    found = [
        ("spent more than their budget", over),
        ("had model calls that their account does not contain", unaccounted),
    ]
    return [_sentence(names, what, "conversations") for what, names in found if names]


def _sentence(tasks: Sequence[str], what: str, of: str = "tasks") -> str:
    shown = ", ".join(tasks[:_SHOWN]) + (", …" if len(tasks) > _SHOWN else "")
    return f"{len(tasks)} {of} {what}: {shown}"
