"""The tool `emit`, with which a model emits tasks and events that the manifest allows.

A call sends nothing. `agentd.agent.emit` sends the messages together with the result, in one atomic
batch. A run that resumes derives them from the calls in its journal, so none is sent twice.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from agentd.manifest.flow import Emit
from agentd.protocol.subjects import RUNTIME_EVENTS, TOKEN, matches
from agentd.tools.port import Call, Emitted, Tool, ToolError

_REMEMBERED = 1_000  # tasks for which calls are counted
_ADDRESS = re.compile(rf"(task|event)\.({TOKEN})\.{TOKEN}")


class EmitTool:
    """The tool of one agent."""

    name = "emit"
    takes_key = True  # a call has no effect before the commit

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._calls: OrderedDict[str, set[str]] = OrderedDict()

    @property
    def description(self) -> str:
        """What it does, and where a message may go."""
        return (
            "Sends a task (task.…) or an event (event.…) to other agents, with your answer. "
            f"Allowed: {', '.join(self._emit.allow)}; * stands for one word of A-Z a-z 0-9 _ -."
        )

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Where to, what, and with which priority."""
        return {
            "type": "object",
            "properties": {
                "to": {"type": "string", "description": f"For example {self._emit.allow[0]}"},
                "content": {"description": "What the task or event says: text, or any JSON."},
                "priority": {"type": "integer", "minimum": 0, "maximum": 9},
            },
            "required": ["to", "content"],
            "additionalProperties": False,
        }

    async def call(self, call: Call) -> str:
        """Accepts one message.

        Raises:
            ToolError: the manifest does not allow it, or the limit is reached.
        """
        to = str(call.arguments["to"])
        if not self._is_allowed(to):
            allowed = ", ".join(self._emit.allow)
            raise ToolError(f"{to[:200]!r} may not be emitted; allowed: {allowed}")
        calls = self._calls.setdefault(call.task.id, set())
        if call.key not in calls and len(calls) >= self._emit.limit:
            raise ToolError(
                f"this task has emitted {self._emit.limit} messages, which is its limit; answer now"
            )
        calls.add(call.key)
        while len(self._calls) > _REMEMBERED:
            self._calls.popitem(last=False)
        return f"{to} will be sent with your answer"

    def emitted(self, arguments: Mapping[str, Any]) -> tuple[Emitted]:
        """The one message of an accepted call; see `agentd.tools.port.Emitting`."""
        return (Emitted(**arguments),)

    def _is_allowed(self, to: str) -> bool:
        address = _ADDRESS.fullmatch(to)
        if address is None or address[2].startswith("_"):
            return False
        # An approval or a cancellation is an event, too: a model must not publish one.
        if address[1] == "event" and address[2] in RUNTIME_EVENTS:
            return False
        return any(matches(pattern, to) for pattern in self._emit.allow)


class EmitSource:
    """The source of the tool; see `agentd.tools.port.ToolSource`."""

    trouble = ""

    def __init__(self, emit: Emit) -> None:
        self._tools = (EmitTool(emit),)

    @property
    def tools(self) -> Sequence[Tool]:
        """The tool `emit`."""
        return self._tools
