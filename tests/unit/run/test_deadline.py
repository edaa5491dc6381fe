"""Until when a task may be worked on: the least of what everybody allows."""

from __future__ import annotations

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
