"""Which messages follow from a task, which deltas are shown, and which message ends it."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.protocol.message import AgentIdentity, AgentMessage, Context, encode, new
from agentd.queue.decisions import REQUESTED
from agentd.queue.journal import MODEL_AWAITED
from agentd.routing.ask import Delay, Delta, Waiting
from agentd.routing.follow import FollowedMessage, FollowedTask, Received

AGENT = AgentIdentity(id="ada")
TASK = new("task", "go", source=AGENT, id="t1", context=Context(conversation_id="c1"))


@pytest.fixture
def followed() -> FollowedTask:
    return FollowedTask(TASK, "event.answer.ready")


def received(topic: str, message: AgentMessage) -> Received:
    return Received(f"agents.dev.{topic}", encode(message))


def fact(topic: str, content: Any = "x", **fields: Any) -> Received:
    """A result or an event of the task's conversation that follows from the task."""
    kind: Any = topic.partition(".")[0]
    if kind == "result" and content == "x":
        content = {"success": True, "data": "x"}
    given: dict[str, Any] = {"context": TASK.context, "correlation_id": TASK.id, **fields}
    return received(topic, new(kind, content, source=AGENT, **given))


def delta(task: str, number: int, text: str = "x", *, final: bool = False) -> Received:
    message = TASK.delta(text, number, turn=1, final=final, source=AGENT)
    return received(f"stream.response.{task}", message)


def test_a_fact_that_follows_from_the_task_is_a_step(followed: FollowedTask) -> None:
    part = followed.read(fact("result.research.papers.t2"))

    assert isinstance(part, FollowedMessage)
    assert part.topic == "result.research.papers"


def test_what_is_no_result_is_no_step_and_no_end() -> None:
    followed = FollowedTask(TASK, "result.research.*")
    for content in (None, [], {"success": "maybe"}):
        garbage = fact("result.research.papers.t1", content)
        assert not followed.is_end(garbage)
        assert followed.read(garbage) is None


def test_the_fact_that_was_asked_for_is_the_end(followed: FollowedTask) -> None:
    end = fact("event.answer.ready", "42")

    assert followed.is_end(end)
    part = followed.read(end)
    assert isinstance(part, AgentMessage)
    assert part.payload.content == "42"


def test_a_pattern_of_results_matches_them_without_the_id_of_their_task() -> None:
    followed = FollowedTask(TASK, "result.research.*")

    assert followed.end_subject == "result.research.*.*"
    assert followed.is_end(fact("result.research.papers.t2"))
    assert not followed.is_end(fact("result.summary.papers.t2"))


@pytest.mark.parametrize(
    ("topic", "success", "ends"),
    [
        ("result.x.general.t1", False, True),
        ("result.x.general.t1", True, False),
        ("result.x.general.t2", False, False),
    ],
)
def test_the_failure_of_the_task_itself_is_the_end(
    followed: FollowedTask, topic: str, success: bool, ends: bool
) -> None:
    assert followed.is_end(fact(topic, {"success": success})) == ends


@pytest.mark.parametrize(
    "foreign",
    [
        fact("event.answer.ready", context=Context(conversation_id="c2")),
        fact("event.answer.ready", correlation_id="t2"),
        fact("event.run.t1"),
        Received("agents.dev.event.answer.ready", b"{"),
        Received("agents.dev.event", b"{}"),
    ],
)
def test_other_messages_are_left_out(followed: FollowedTask, foreign: Received) -> None:
    assert not followed.is_end(foreign)
    assert followed.read(foreign) is None


def test_a_request_for_approval_is_reported_and_a_decision_is_not(followed: FollowedTask) -> None:
    request = {
        "event": REQUESTED,
        "task": "t2",
        "agent": "ada",
        "life": 1,
        "turn": 1,
        "calls": [],
        "expires": "2026-11-23T09:00:00Z",
    }
    waiting = followed.read(fact("event.approval.t2", request))

    assert isinstance(waiting, Waiting)
    assert waiting.request.task == "t2"
    assert followed.read(fact("event.approval.t2", {"decision": "approve"})) is None


def test_a_delay_of_any_task_of_the_conversation_is_reported(followed: FollowedTask) -> None:
    entry = {"event": MODEL_AWAITED, "reason": "no connection"}
    assert followed.read(fact("event.run.t2", entry)) == Delay("waiting: no connection")


def texts(followed: FollowedTask, *messages: Received) -> list[tuple[str, bool]]:
    """The text of each delta shown, and whether the answer restarts with it."""
    parts = [followed.read(each) for each in messages]
    return [(part.text, part.restarted) for part in parts if isinstance(part, Delta)]


def test_one_answer_after_the_other_is_streamed(followed: FollowedTask) -> None:
    shown = texts(
        followed,
        delta("t2", 0, "a"),
        delta("t2", 1, "b", final=True),
        fact("result.research.papers.t2"),
        delta("t3", 0, "c", final=True),
    )

    assert shown == [("a", False), ("b", False), ("c", True)]


def test_while_one_answer_is_streamed_the_deltas_of_others_are_left_out(
    followed: FollowedTask,
) -> None:
    shown = texts(
        followed,
        delta("t2", 0, "a"),
        delta("t3", 0, "no"),
        delta("t2", 1, "b", final=True),
        delta("t3", 1, "no"),
        delta("t4", 0, "c"),
    )

    assert shown == [("a", False), ("b", False), ("c", True)]


def test_an_answer_that_restarts_is_marked(followed: FollowedTask) -> None:
    shown = texts(followed, delta("t2", 0, "a"), delta("t2", 0, "b"), delta("t2", 1, "c"))

    assert shown == [("a", False), ("b", True), ("c", False)]


def test_the_result_ends_an_answer_whose_final_delta_was_lost(followed: FollowedTask) -> None:
    shown = texts(
        followed, delta("t2", 0, "a"), fact("result.research.papers.t2"), delta("t3", 0, "b")
    )

    assert shown == [("a", False), ("b", True)]


def test_a_look_for_the_end_does_not_end_the_answer_that_is_streamed(
    followed: FollowedTask,
) -> None:
    """The log has results whose deltas have not been read yet."""
    assert texts(followed, delta("t2", 0, "a")) == [("a", False)]
    assert not followed.is_end(fact("result.research.papers.t2"))
    assert texts(followed, delta("t2", 1, "b")) == [("b", False)]
