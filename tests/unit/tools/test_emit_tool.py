"""The tool `emit`: what a model may emit, how often, and which message a call asks for."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.manifest.flow import Emit
from agentd.protocol.message import AgentIdentity, AgentMessage, new
from agentd.tools.emit_tool import EmitSource, EmitTool
from agentd.tools.port import Call, Emitted, Emitting, ToolError

TASK = new("task", "Work.", source=AgentIdentity(id="tester"))


async def no_money() -> float:
    return 0.0


def call(to: str, key: str = "k", task: AgentMessage = TASK) -> Call:
    arguments = {"to": to, "content": "A"}
    return Call(arguments=arguments, key=key, timeout=1, task=task, agent="one", money=no_money)


def tool(*allow: str, limit: int = 5) -> EmitTool:
    return EmitTool(Emit.model_validate({"allow": allow, "limit": limit}))


@pytest.mark.parametrize("to", ["task.work.a", "task.work.b-2", "event.report.ready"])
async def test_an_allowed_message_is_accepted(to: str) -> None:
    emit = tool("task.work.*", "event.report.ready")

    assert await emit.call(call(to)) == f"{to} will be sent with your answer"


@pytest.mark.parametrize(
    ("to", "allow"),
    [
        ("task.other.a", "task.work.*"),
        ("event.work.a", "task.work.*"),
        ("task.work.*", "task.work.*"),  # a pattern is not an address
        ("task.work", "task.work.*"),
        ("task.work.a.b", "task.work.*"),
        ("result.work.a", "task.work.*"),
        ("", "task.work.*"),
        ("task._agent.a", "task.*.*"),  # agentd's own subjects
        ("event.run.t1", "event.*.*"),
        ("event.approval.t1", "event.*.*"),
    ],
)
async def test_any_other_message_is_refused(to: str, allow: str) -> None:
    with pytest.raises(ToolError, match="may not be emitted; allowed: "):
        await tool(allow).call(call(to))


async def test_the_limit_counts_the_calls_of_one_task() -> None:
    emit = tool("task.work.*", limit=2)
    other = new("task", "Other work.", source=AgentIdentity(id="tester"))
    for key in ("t.1.0", "t.1.1"):
        await emit.call(call("task.work.a", key))

    with pytest.raises(ToolError, match="2 messages"):
        await emit.call(call("task.work.a", "t.1.2"))
    assert await emit.call(call("task.work.a", "o.1.0", other))


async def test_a_repeated_call_counts_once() -> None:
    emit = tool("task.work.*", limit=1)

    for _ in range(3):
        assert await emit.call(call("task.work.a", "t.1.0"))


@pytest.mark.parametrize(
    ("arguments", "emitted"),
    [
        ({"to": "task.w.a", "content": [1]}, Emitted(to="task.w.a", content=[1])),
        (
            {"to": "event.w.a", "content": None, "priority": 9},
            Emitted(to="event.w.a", content=None, priority=9),
        ),
    ],
)
def test_the_message_comes_from_the_arguments(arguments: dict[str, Any], emitted: Emitted) -> None:
    emit = tool("task.w.*")

    assert isinstance(emit, Emitting)
    assert emit.emitted(arguments) == (emitted,)


def test_the_source_has_this_one_tool() -> None:
    [emit] = EmitSource(Emit.model_validate({"allow": ["task.work.*"]})).tools

    assert emit.name == "emit"
    assert "task.work.*" in emit.description
