"""Whether an agent may run a message: checked before its model is called."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.agent.admission import Misdirected, admit
from agentd.errors import Undeliverable
from agentd.protocol.destination import Destination
from agentd.protocol.fields import AgentIdentity, Context, Routing
from agentd.protocol.message import AgentMessage, new

NOW = 1_000.0
ANALYSIS = Destination("analysis", "sentiment")


def task(
    *,
    target: str | None = None,
    hops: int = 0,
    path: tuple[str, ...] = (),
    **routing: Any,
) -> AgentMessage:
    """A task that was sent at NOW."""
    context = Context(conversation_id="c", hops=hops, path=path)
    source, route = AgentIdentity(id="test"), Routing(**routing)
    message = new("task", "x", source=source, target=target, context=context, routing=route)
    return message.model_copy(update={"timestamp": NOW})


def admitted(
    message: AgentMessage,
    *capabilities: str,
    to: Destination = ANALYSIS,
    hops: int = 3,
    now: float = NOW,
) -> None:
    """Lets the agent `me` run the message, or raises."""
    admit(message, to=to, agent="me", capabilities=capabilities, hops=hops, now=now)


def refusal(message: AgentMessage, **options: Any) -> Undeliverable:
    with pytest.raises(Undeliverable) as refused:
        admitted(message, **options)
    assert not refused.value.retryable
    return refused.value


def test_a_task_that_runs_has_all_it_needs() -> None:
    admitted(task())
    admitted(task(target="me"))
    admitted(task(capabilities=("a", "analysis"), exclusions=("other",)), "a")
    admitted(task(hops=3, path=("me", "a", "me", "b")))
    admitted(task(timeout=2000), now=NOW + 1.999)
    admitted(task(), to=Destination("_agent", "me"))


def test_a_capability_that_an_edit_removed_is_no_reason_not_to_run_a_task_for_it() -> None:
    admitted(task(), "other")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (task(target="you"), "the message is for @you only"),
        (task(capabilities=("b", "c")), "lacks the capability `b` and `c` (has a analysis)"),
        (task(exclusions=("me",)), "the message excludes it"),
        (
            task(capabilities=("b",), exclusions=("me",), path=("me",)),
            "lacks the capability `b` (has a analysis); the message excludes it",
        ),
    ],
)
def test_a_task_for_another_agent_is_forwarded(message: AgentMessage, reason: str) -> None:
    with pytest.raises(Misdirected) as refused:
        admitted(message, "a")
    words, found = set(reason.replace(")", " )").split()), str(refused.value).replace(")", " )")
    assert set(found.split()) == words


def test_a_task_for_another_agent_is_forwarded_even_when_it_has_expired() -> None:
    with pytest.raises(Misdirected):
        admitted(task(target="you", timeout=1), now=NOW + 5)


def test_a_task_expires_at_the_very_moment() -> None:
    error = refusal(task(timeout=2000), now=NOW + 2)
    assert error.code == "expired"
    waited = "while it waited for a free slot (routing.timeout 2000 ms)"
    assert str(error) == f"the message expired 0.0 s ago, {waited}"
    late = refusal(task(timeout=2000), now=NOW + 5.55)
    assert str(late) == f"the message expired 3.5 s ago, {waited}"


def test_an_agent_does_not_run_what_it_emitted_itself() -> None:
    error = refusal(task(hops=9, path=("a", "me")))
    assert error.code == "loop"
    assert str(error) == "me emitted this message itself"


def test_a_task_that_was_passed_on_too_often_is_not_run() -> None:
    error = refusal(task(hops=4, path=tuple("abcdefghij")))
    assert error.code == "hops"
    assert str(error) == (
        "passed on 4 times, by c > d > e > f > g > h > i > j; limits.hops of me is 3"
    )
    unknown = refusal(task(hops=1), hops=0)
    assert str(unknown) == "passed on 1 times, by an unknown path; limits.hops of me is 0"


def test_an_expired_task_says_so_before_anything_else_is_found_wrong() -> None:
    assert refusal(task(timeout=1, hops=9, path=("me",)), now=NOW + 1).code == "expired"
