"""Which calls of a run a person must agree to first, and what was said about them."""

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
from agentd.tools.toolbox import Held

log = logging.getLogger(__name__)

TIMEOUT = 86_400.0  # seconds that a person has, where the manifest does not say


class Consent:
    """The consent that the calls of one run need."""

    def __init__(self, revision: Revision, message: AgentMessage, context: RunContext) -> None:
        self._revision = revision
        self._message = message
        self._context = context

    def require(self, turn: int, calls: Sequence[ToolCall]) -> None:
        """Lets the calls of a turn be made, or refused one by one, if it is known which.

        Raises:
            Paused: somebody is to be asked first.
        """
        verdicts = self._context.verdicts
        if verdicts is None or turn <= verdicts.turn:
            return
        asked = [
            (held, {"index": index, "name": call.name, "arguments": held.arguments(call.arguments)})
            for index, call in enumerate(calls)
            if (held := self._tool_to_ask_about(call))
        ]
        if asked:
            longest = min(held.declared.approval_timeout or TIMEOUT for held, _ in asked)
            raise Paused(turn, [call for _, call in asked], timeout=longest)

    def refusal(self, turn: int, index: int, call: ToolCall) -> str | None:
        """Why a call is not made, for the model; None for one that may be."""
        verdicts = self._context.verdicts
        if verdicts and turn == verdicts.turn and index in verdicts.calls:
            decision = verdicts.calls[index]
            if decision is None:
                return "this call was denied: nobody approved it in time"
            return None if decision.approve else decision.refusal
        if self._tool_to_ask_about(call) is None:
            return None
        if verdicts is None:
            return "this call needs a person's approval, for which a quick question cannot wait"
        return "this call was denied: nobody was asked about it"

    def _tool_to_ask_about(self, call: ToolCall) -> Held | None:
        """The tool of a call that needs consent, and that can be made at all."""
        held = self._revision.toolbox.held.get(call.name)
        if held is None or held.declared.approval is False:
            return None
        try:
            arguments = held.arguments(call.arguments)
        except ToolError:
            return None  # it is refused without a person, and the model told why
        return held if self._asks(held.declared.approval, arguments) else None

    def _asks(self, approval: bool | str, arguments: Any) -> bool:
        if not isinstance(approval, str):
            return approval
        values = self._revision.message_context(self._message, self._revision.model.name)
        now = datetime.fromtimestamp(self._context.now, UTC)
        names = {**values, "now": now, "arguments": json.loads(json.dumps(arguments))}
        try:
            return bool(self._revision.spec.expressions[approval].evaluate(names))
        except PromptError as error:
            # What cannot be told is for a person to see.
            log.warning("approval: %s", error, extra={"agent": self._revision.spec.name})
            return True
