"""The task that a closed join makes of its facts, or why it fails."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.agent.join_state import Fact, Gathering
from agentd.agent.join_task import Found, failure_of, task_of
from agentd.manifest.flow import Join
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, Routing, new
from agentd.protocol.subjects import Subject

SOURCE = AgentIdentity(id="agentd-join", type="runtime")


def join(**fields: Any) -> Join:
    return Join.model_validate({"wait_for": ["result.dig.*"], "timeout": "60s", **fields})


def result(
    data: Any, *, agent: str = "digger", hops: int = 1, priority: int = 5, error: Any = None
) -> AgentMessage:
    content = {"success": error is None, "data": data, "error": error}
    context = Context(conversation_id="c", hops=hops, path=("splitter", agent)[:hops])
    return new(
        "result",
        content,
        source=AgentIdentity(id=agent, type="agent"),
        context=context,
        routing=Routing(priority=priority),
        correlation_id="root",
    )


def found(*messages: AgentMessage, size: int = 100) -> list[Found]:
    subject = Subject.parse("agents.dev.result.dig.part.t")
    return [Found(subject, message, size) for message in messages]


def gathering(count: int, closed: Any = "complete") -> Gathering:
    facts = tuple(Fact(number + 1, "result.dig.part") for number in range(count))
    missing = () if closed == "complete" else ("result.dig.*",)
    return Gathering(facts=facts, started=1.0, closed=closed, missing=missing)


def made(*messages: AgentMessage, **fields: Any) -> AgentMessage:
    return task_of(
        "j",
        gathering(len(messages)),
        found(*messages),
        join(count=len(messages) or 1, **fields),
        agent="briefer",
        source=SOURCE,
    )


def test_it_has_every_fact_and_says_whether_all_came() -> None:
    task = made(result("one"), result(None, error={"code": "x"}))

    assert task.payload.content == {
        "complete": True,
        "missing": [],
        "facts": [
            {"subject": "result.dig.part", "agent": "digger", "success": True, "data": "one"},
            {
                "subject": "result.dig.part",
                "agent": "digger",
                "success": False,
                "data": None,
                "error": {"code": "x"},
            },
        ],
    }
    assert (task.id, task.target, task.correlation_id) == ("j", "briefer", "root")


def test_it_takes_the_most_hops_and_the_highest_priority() -> None:
    task = made(result("a", hops=2, priority=3), result("b", hops=1, priority=8))

    assert task.context.hops == 2
    assert task.context.path == ("splitter", "digger")
    assert task.routing.priority == 8


def test_facts_that_the_log_has_lost_leave_an_empty_task() -> None:
    task = made()

    assert task.payload.content["facts"] == []
    assert task.id == "j"


@pytest.mark.parametrize(
    ("closed", "on_timeout", "code", "text"),
    [
        ("timeout", "fail", "join_timeout", "not all facts arrived within 60 s (join.timeout)"),
        ("too_many", "run", "join_too_many", "2 facts arrived, and the join is not complete"),
    ],
)
def test_a_join_that_is_not_complete_fails(
    closed: str, on_timeout: str, code: str, text: str
) -> None:
    wanting = join(count=3, on_timeout=on_timeout)
    error = failure_of(gathering(2, closed), found(result("a")), wanting)

    assert error is not None
    assert error.code == code
    assert text in str(error)
    assert "missing: result.dig.*" in str(error)


def test_a_timeout_may_run_all_the_same() -> None:
    assert failure_of(gathering(1, "timeout"), [], join(count=3, on_timeout="run")) is None
    assert failure_of(gathering(2), found(result("a")), join(count=2)) is None


def test_facts_that_are_too_large_together_fail() -> None:
    facts = found(result("a"), result("b"), size=17 * 1024**2)
    error = failure_of(gathering(2), facts, join(count=2))

    assert error is not None
    assert error.code == "join_too_large"
