"""What a request to cancel may contain."""

from __future__ import annotations

import pytest

from agentd.queue.cancellations import Scope
from agentd.runtime.cancellation import scope_of


@pytest.mark.parametrize(
    ("content", "scope"),
    [
        ({"conversation": "c1"}, Scope("conversation", "c1")),
        ({"task": "t1"}, Scope("task", "t1")),
        ({"task": "t1", "reason": "too dear"}, Scope("task", "t1")),
    ],
)
def test_a_request_names_a_conversation_or_a_task(content: object, scope: Scope) -> None:
    assert scope_of(content) == scope


@pytest.mark.parametrize("content", [None, "t1", [], {}, {"task": 1}, {"agent": "a"}])
def test_a_request_that_names_neither_is_invalid(content: object) -> None:
    with pytest.raises(ValueError, match=r"^the content must be "):
        scope_of(content)
