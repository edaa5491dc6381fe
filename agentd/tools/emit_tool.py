"""The tool with which a model emits tasks and events, as far as the manifest allows.

A call only notes what shall be sent: `agent.emit` sends it when the answer goes on record. So what
was emitted is known from the calls on record, and a run that is made again emits nothing twice.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from agentd.manifest.flow import Emit
from agentd.protocol.subjects import RUNTIME_EVENTS, TOKEN, matches
from agentd.tools.port import Call, Emitted, Tool, ToolError

_REMEMBERED = 1_000  # tasks whose calls are counted
_ADDRESS = re.compile(rf"(task|event)\.({TOKEN})\.{TOKEN}")


class EmitTool:
    """The tool of one agent."""

    name = "emit"
    takes_key = True  # nothing happens before the answer is there

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._calls: OrderedDict[str, set[str]] = OrderedDict()

    @property
    def description(self) -> str:
        """What it may be used for."""
        return (
            "Hands on work (task.…) or tells a fact (event.…) to other agents. It is sent when you "
            f"give your answer. Where to: {', '.join(self._emit.allow)}; * stands for one word of "
            "A-Z a-z 0-9 _ -."
        )

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Where to, what, and how urgently."""
        return {
            "type": "object",
            "properties": {
                "to": {"type": "string", "description": f"For example {self._emit.allow[0]}"},
                "content": {"description": "The task or the fact: a text, or any JSON."},
                "priority": {"type": "integer", "minimum": 0, "maximum": 9},
            },
            "required": ["to", "content"],
            "additionalProperties": False,
        }

    async def call(self, call: Call) -> str:
        """Notes that it is wanted.

        Raises:
            ToolError: the manifest does not allow it, or not once more.
        """
        to = str(call.arguments["to"])
        if not self._is_allowed(to):
            allowed = ", ".join(self._emit.allow)
            raise ToolError(f"{to[:200]!r} is not among what may be emitted: {allowed}")
        calls = self._calls.setdefault(call.task.id, set())
        if call.key not in calls and len(calls) >= self._emit.limit:
            raise ToolError(f"{self._emit.limit} messages are the most in one task")
        calls.add(call.key)
        while len(self._calls) > _REMEMBERED:
            self._calls.popitem(last=False)
        return f"{to} is sent with your answer"

    def emitted(self, arguments: Mapping[str, Any]) -> tuple[Emitted]:
        """The one message of an accepted call; see `agentd.tools.port.Emitting`."""
        return (Emitted(**arguments),)

    def _is_allowed(self, to: str) -> bool:
        address = _ADDRESS.fullmatch(to)
        if address is None or address[2].startswith("_"):
            return False
        if address[1] == "event" and address[2] in RUNTIME_EVENTS:
            return False
        return any(matches(pattern, to) for pattern in self._emit.allow)


class EmitSource:
    """What `emit: {allow: …}` gives a model."""

    trouble = ""

    def __init__(self, emit: Emit) -> None:
        self._tools = (EmitTool(emit),)

    @property
    def tools(self) -> Sequence[Tool]:
        """The one tool."""
        return self._tools
