"""The approval gate: which tool calls of a run need approval, and what was decided about them."""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Sequence
from contextlib import suppress
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

    async def require(
        self, turn: int, calls: Sequence[ToolCall], *, refused: Container[int] = ()
    ) -> None:
        """Returns if every call of the turn is decided, or needs no approval. Nobody is asked
        about the calls that are `refused` anyway, by index.

        Raises:
            Paused: approvals must be requested first.
        """
        verdicts = self._context.verdicts
        if verdicts is None or turn <= verdicts.turn:
            return
        asked: list[dict[str, Any]] = []
        timeouts: list[float] = []
        for index, call in enumerate(calls):
            if index in refused:
                continue
            with suppress(ToolError):  # this call will be refused, so nobody need approve it
                if wanted := await self._to_approve(call):
                    tool, arguments = wanted
                    timeouts.append(tool.entry.approval_timeout or TIMEOUT)
                    asked.append({"index": index, "name": call.name, "arguments": arguments})
        if asked:
            raise Paused(turn, asked, timeout=min(timeouts))

    async def refusal(self, turn: int, index: int, call: ToolCall) -> str | None:
        """Why a call is not made, as its tool answer; None if the call may be made."""
        verdicts = self._context.verdicts
        if verdicts and turn == verdicts.turn and index in verdicts.calls:
            decision = verdicts.calls[index]
            if decision is None:
                return "this call was denied: it was not approved in time"
            return None if decision.approve else decision.refusal
        try:
            if await self._to_approve(call) is None:
                return None
        except ToolError as error:
            # Final: the check of a complex schema may pass the next time, without an approval.
            return str(error)
        if verdicts is None:
            return "this call needs approval, and a query cannot wait for one"
        return "this call was denied: its approval was never requested"

    async def _to_approve(self, call: ToolCall) -> tuple[DeclaredTool, Any] | None:
        """The tool and the arguments of a call that needs approval; None if it needs none.

        Raises:
            ToolError: the arguments do not fit the tool.
        """
        tool = self._revision.toolbox.tools.get(call.name)
        if tool is None or tool.entry.approval is False:
            return None
        arguments = await tool.arguments(call.arguments)
        return (tool, arguments) if self._asks(tool.entry.approval, arguments) else None

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
