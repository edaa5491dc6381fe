"""The approval gate: which tool calls wait for a person, and what was decided about them.

A person approves a call, denies it, or edits its arguments; or answers the question of a call.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from agentd.errors import Paused, PromptError
from agentd.manifest.tools import ToolEntry
from agentd.models.port import ToolCall
from agentd.protocol.message import AgentMessage
from agentd.queue.decisions import Decision
from agentd.run.context import RunContext
from agentd.run.revision import Revision
from agentd.tools.port import ToolError
from agentd.tools.toolbox import DeclaredTool, ToolAnswer

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
        """Returns if every call of the turn is decided, or needs no decision. Nobody is asked
        about the calls that are `refused` anyway, by index.

        Raises:
            Paused: decisions must be requested first.
        """
        verdicts = self._context.verdicts
        if verdicts is None or turn <= verdicts.turn:
            return
        asked: list[dict[str, Any]] = []
        timeouts: list[float] = []
        schemas: dict[str, Any] = {}
        for index, call in enumerate(calls):
            if index in refused:
                continue
            with suppress(ToolError):  # this call will be refused, so nobody need approve it
                if wanted := await self._to_decide(call):
                    tool, arguments = wanted
                    timeouts.append(_timeout(tool.entry))
                    asked.append({"index": index, "name": call.name, "arguments": arguments})
                    if tool.entry.ask:
                        asked[-1] |= _question(tool.entry, arguments)
                    else:
                        schemas[call.name] = tool.tool.parameters
        if asked:
            raise Paused(turn, asked, schemas=schemas, timeout=min(timeouts))

    def decision(self, turn: int, index: int) -> Decision | None:
        """What a person decided about a call; None if nobody did."""
        verdicts = self._context.verdicts
        return verdicts.calls.get(index) if verdicts and turn == verdicts.turn else None

    async def settled(self, turn: int, index: int, call: ToolCall) -> ToolCall | ToolAnswer:
        """The call as it is to be made; or the tool answer of a call that is not made."""
        verdicts = self._context.verdicts
        if verdicts and turn == verdicts.turn and index in verdicts.calls:
            return self._decided(call, verdicts.calls[index])
        try:
            if await self._to_decide(call) is None:
                return call
        except ToolError as error:
            # Final: the check of a complex schema may pass the next time, without an approval.
            return _refused(str(error))
        if verdicts is None:
            return _refused("this call needs a person's decision, and a query cannot wait for one")
        return _refused("this call was denied: its approval was never requested")

    def _decided(self, call: ToolCall, decision: Decision | None) -> ToolCall | ToolAnswer:
        if decision is None:
            tool = self._revision.toolbox.tools.get(call.name)
            if tool is None or not tool.entry.ask:
                return _refused("this call was denied: it was not approved in time")
            if tool.entry.default is None:
                return _refused("nobody answered this question in time")
            return ToolAnswer(tool.entry.default)
        if not decision.approve:
            return _refused(decision.refusal)
        if decision.answer is not None:
            return ToolAnswer(decision.answer)
        if decision.arguments is not None:
            return replace(call, arguments=json.dumps(decision.arguments, ensure_ascii=False))
        return call

    async def _to_decide(self, call: ToolCall) -> tuple[DeclaredTool, Any] | None:
        """The tool and the arguments of a call that waits for a person; None if it need not wait.

        Raises:
            ToolError: the arguments do not fit the tool.
        """
        tool = self._revision.toolbox.tools.get(call.name)
        if tool is None or (tool.entry.approval is False and not tool.entry.ask):
            return None
        arguments = await tool.arguments(call.arguments)
        waits = tool.entry.ask or self._asks(tool.entry.approval, arguments)
        return (tool, arguments) if waits else None

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


def _timeout(entry: ToolEntry) -> float:
    return (entry.timeout if entry.ask else entry.approval_timeout) or TIMEOUT


def _question(entry: ToolEntry, arguments: Any) -> dict[str, Any]:
    """What a person is shown of a call that asks one."""
    choices = list(entry.choices or arguments.get("choices", ()))
    return {
        "question": arguments["question"],
        **({"choices": choices} if choices else {}),
        **({} if entry.default is None else {"default": entry.default}),
    }


def _refused(text: str) -> ToolAnswer:
    return ToolAnswer(text, error=True, final=True)
