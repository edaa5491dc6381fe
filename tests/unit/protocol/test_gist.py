"""A message in one line: what is shown of its content, and what is left out."""

from __future__ import annotations

import pytest

from agentd.protocol import message
from agentd.protocol.gist import gist
from agentd.protocol.message import AgentIdentity

ANN = AgentIdentity(id="ann", type="user")


@pytest.mark.parametrize(
    ("kind", "content", "shown"),
    [
        ("task", "Is this\nso?\x1b[2J", "Is this so?\x1b[2J"),
        ("task", {"event": "a", "task": "b"}, '{"event": "a", "task": "b"}'),
        ("event", {"order": 7, "task": "b"}, '{"order": 7, "task": "b"}'),
        (
            "event",
            {"event": "tool_answered", "task": "8f2c", "life": 4711, "delivery": 1, "text": "no"},
            'tool_answered {"text": "no"}',
        ),
        ("result", {"success": True, "data": "Yes."}, "Yes."),
        ("result", {"success": False, "error": {"code": "x"}}, '{"code": "x"}'),
        ("task", "x" * 101, "x" * 99 + "…"),
    ],
)
def test_a_message_is_shown_in_one_line(
    kind: message.MessageType, content: object, shown: str
) -> None:
    assert gist(message.new(kind, content, source=ANN)) == shown
