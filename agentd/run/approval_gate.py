"""The approval gate: which tool calls of a run need approval, and what was decided about them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from agentd.errors import Paused, PromptError
from agentd.models.port import ToolCall
from agentd.protocol.message import AgentMessage
from agentd.run.context import RunContext
from agentd.run.revision import Revision
from agentd.tools.port import ToolError
from agentd.tools.toolbox import DeclaredTool

log = logging.getLogger(__name__)

TIMEOUT = 86_400.0  # seconds until a request expires, unless the manifest says otherwise


class ApprovalGate:
    """The approvals that the tool calls of one run need."""

    def __init__(self, revision: Revision, message: AgentMessage, context: RunContext) -> None:
        self._revision = revision
        self._message = message
        self._context = context

    def require(self, turn: int, calls: Sequence[ToolCall]) -> None:
        """Returns if every call of the turn is decided, or needs no approval.

        Raises:
            Paused: approvals must be requested first.
        """
        verdicts = self._context.verdicts
        if verdicts is None or turn <= verdicts.turn:
            return
        asked = [
            (tool, {"index": index, "name": call.name, "arguments": tool.arguments(call.arguments)})
            for index, call in enumerate(calls)
            if (tool := self._tool_to_approve(call))
        ]
        if asked:
            longest = min(tool.entry.approval_timeout or TIMEOUT for tool, _ in asked)
            raise Paused(turn, [call for _, call in asked], timeout=longest)

    def refusal(self, turn: int, index: int, call: ToolCall) -> str | None:
        """Why a call is not made, as its tool answer; None if the call may be made."""
        verdicts = self._context.verdicts
        if verdicts and turn == verdicts.turn and index in verdicts.calls:
            decision = verdicts.calls[index]
            if decision is None:
                return "this call was denied: it was not approved in time"
            return None if decision.approve else decision.refusal
        if self._tool_to_approve(call) is None:
            return None
        if verdicts is None:
            return "this call needs approval, and a query cannot wait for one"
        return "this call was denied: its approval was never requested"

    def _tool_to_approve(self, call: ToolCall) -> DeclaredTool | None:
        """The tool of a call that needs approval; None if it needs none, or cannot be made."""
        tool = self._revision.toolbox.tools.get(call.name)
        if tool is None or tool.entry.approval is False:
            return None
        try:
            arguments = tool.arguments(call.arguments)
        except ToolError:
            return None  # the arguments do not fit: the toolbox refuses the call, with the reason
        return tool if self._asks(tool.entry.approval, arguments) else None

    def _asks(self, approval: bool | str, arguments: Any) -> bool:
        if not isinstance(approval, str):
            return approval
        values = self._revision.message_context(self._message, self._revision.model.name)
        now = datetime.fromtimestamp(self._context.now, UTC)
        names = {**values, "now": now, "arguments": json.loads(json.dumps(arguments))}
        try:
            return bool(self._revision.spec.expressions[approval].evaluate(names))
        except PromptError as error:
            # An expression that fails must not let the call through.
            log.warning("approval: %s", error, extra={"agent": self._revision.spec.name})
            return True
