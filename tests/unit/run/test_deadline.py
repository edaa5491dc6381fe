"""Until when a task may be worked on: the least of what everybody allows."""

from __future__ import annotations

import math
import time

import pytest

from agentd.errors import Undeliverable
from agentd.protocol.fields import Constraints
from agentd.protocol.message import AgentIdentity, AgentMessage, Payload, Routing, new
from agentd.run.deadline import Deadline

NOW = 1_000_000_000.0


def task(timeout: float | None = None, constraints: Constraints | None = None) -> AgentMessage:
    payload = Payload(content="x", constraints=constraints or Constraints())
    routing = Routing(timeout=timeout) if timeout is not None else None
    message = new("task", payload, source=AgentIdentity(id="test"), routing=routing)
    return message.model_copy(update={"timestamp": NOW - 10})


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (task(), 120),
        (task(timeout=1_000_000), 120),
        (task(timeout=60_000), 50),
    ],
    ids=["the agent's", "the agent's before the expiry", "the expiry"],
)
def test_the_least_counts(message: AgentMessage, left: float) -> None:
    assert Deadline.of(message, limit=120, now=NOW).left == pytest.approx(left, abs=1)


def test_the_constraint_is_for_the_work_itself() -> None:
    bounded = task(timeout=60_000, constraints=Constraints(timeout=5_000))
    deadline = Deadline.of(bounded, limit=120, now=NOW)
    assert deadline.left == pytest.approx(5, abs=1)
    assert deadline.allows(30)
    assert not deadline.allows(51)


def test_a_task_that_never_expires_may_wait_for_ever() -> None:
    assert Deadline.of(task(), limit=1, now=NOW).allows(1e9)


def test_nothing_is_left_of_what_is_over() -> None:
    deadline = Deadline.of(task(timeout=5_000), limit=120, now=NOW)
    assert deadline.left == 0
    with pytest.raises(Undeliverable) as refused:
        deadline.required()
    assert refused.value.code == "expired"


def test_a_clock_that_is_set_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline.of(task(timeout=60_000), limit=120, now=NOW)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert deadline.left == pytest.approx(50, abs=1)


def deadline_at(
    monkeypatch: pytest.MonkeyPatch, moment: float, *, ends: float, expires: float
) -> Deadline:
    """A deadline that is asked at exactly this moment of the monotonic clock."""
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    return Deadline(ends=ends, expires=expires)


def test_the_deadline_counts_from_the_clock_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 500.0)
    assert Deadline.of(task(), limit=120, now=NOW) == Deadline(
        ends=620.0, expires=math.inf, bound="limits.timeout (120 s)"
    )
    assert Deadline.of(task(timeout=60_000), limit=120, now=NOW) == Deadline(
        ends=550.0, expires=550.0, bound="routing.timeout (60 s)"
    )
    long = task(timeout=600_000, constraints=Constraints(timeout=5_000))
    assert Deadline.of(long, limit=120, now=NOW) == Deadline(
        ends=505.0, expires=1090.0, bound="constraints.timeout (5 s)"
    )


def test_the_sender_cannot_ask_for_more_time_than_the_agent_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 500.0)
    message = task(constraints=Constraints(timeout=600_000))
    assert Deadline.of(message, limit=120, now=NOW).ends == 620.0


@pytest.mark.parametrize(
    ("used", "ends", "bound"),
    [
        (0.0, 505.0, "constraints.timeout (5 s)"),
        (3.0, 502.0, "constraints.timeout (5 s)"),
        (9.0, 496.0, "constraints.timeout (5 s)"),
    ],
)
def test_earlier_attempts_have_used_a_part_of_the_time(
    monkeypatch: pytest.MonkeyPatch, used: float, ends: float, bound: str
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 500.0)
    message = task(timeout=600_000, constraints=Constraints(timeout=5_000))
    deadline = Deadline.of(message, limit=120, now=NOW, used=used)
    assert deadline == Deadline(ends=ends, expires=1090.0, bound=bound)


@pytest.mark.parametrize(("moment", "left"), [(9.5, 0.5), (10.0, 0.0), (11.0, 0.0)])
def test_an_attempt_has_the_seconds_until_its_end(
    monkeypatch: pytest.MonkeyPatch, moment: float, left: float
) -> None:
    assert deadline_at(monkeypatch, moment, ends=10.0, expires=99.0).left == left


def test_the_model_is_called_until_the_last_moment_and_not_at_the_end_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert deadline_at(monkeypatch, 9.5, ends=10.0, expires=99.0).required() == 0.5
    with pytest.raises(Undeliverable) as refused:
        deadline_at(monkeypatch, 10.0, ends=10.0, expires=99.0).required()
    assert str(refused.value) == ("its time was over before the model was called")


@pytest.mark.parametrize(("delay", "allowed"), [(1.5, True), (2.0, False), (2.5, False)])
def test_a_pause_must_end_before_the_task_expires(
    monkeypatch: pytest.MonkeyPatch, delay: float, allowed: bool
) -> None:
    assert deadline_at(monkeypatch, 8.0, ends=9.0, expires=10.0).allows(delay) is allowed
