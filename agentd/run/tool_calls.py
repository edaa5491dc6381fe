"""The tool calls of one turn: made side by side, each on record before the run goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from agentd import crash_points
from agentd.models.port import ToolCall
from agentd.protocol.message import AgentMessage
from agentd.queue.journal import ANSWERED, CALLED
from agentd.run.approval_gate import Consent
from agentd.run.context import RunContext
from agentd.run.revision import Revision
from agentd.tools.port import Call
from agentd.tools.toolbox import ToolAnswer

_CALLS_AT_ONCE = 16  # of the calls that a model asks for in one turn

_INTERRUPTED = (
    "the process was interrupted while this call was made; whether it took effect is not known, "
    "and it was not made again"
)


class TurnCalls:
    """The calls of one run."""

    def __init__(self, revision: Revision, message: AgentMessage, context: RunContext) -> None:
        self._revision = revision
        self._message = message
        self._context = context
        self._consent = Consent(revision, message, context)
        self._room = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def make(self, turn: int, calls: Sequence[ToolCall]) -> list[ToolAnswer]:
        """The answers to the calls that the model asks for in this turn, in their order.

        Raises:
            Paused: a person must agree to some of them; none is made until then.
            BusError: one is not on record, or NATS is needed for it.
            Undeliverable: no time is left (`expired`).
        """
        self._consent.require(turn, calls)
        return await _together([self._in_turn(turn, i, call) for i, call in enumerate(calls)])

    async def _in_turn(self, turn: int, index: int, call: ToolCall) -> ToolAnswer:
        async with self._room:
            return await self._answer(turn, index, call)

    async def _answer(self, turn: int, index: int, call: ToolCall) -> ToolAnswer:
        """What a tool says, or said before the run was cut off."""
        recorded = self._context.steps.get((ANSWERED, turn, index))
        if recorded is not None:
            toolbox = self._revision.toolbox
            return toolbox.recorded(call, recorded["text"], error=recorded["error"])
        refusal = self._consent.refusal(turn, index, call)
        denied = refusal and ToolAnswer(refusal, error=True)
        answer = denied or await self._call(turn, index, call)
        crash_points.here("after-tool")
        await self._context.journal().step(
            ANSWERED, turn, index, name=call.name, text=answer.text, error=answer.error
        )
        return answer

    async def _call(self, turn: int, index: int, call: ToolCall) -> ToolAnswer:
        """Makes a call. One with effects that may have been made before is only repeated where
        its key tells the other side that it is the same."""
        task = self._message
        held = self._revision.toolbox.held.get(call.name)
        key = f"{task.id}.{turn}.{index}"
        if held and held.declared.effects:
            if (CALLED, turn, index) not in self._context.steps:
                await self._context.journal().step(CALLED, turn, index, name=call.name, key=key)
            elif not held.tool.takes_key:
                return ToolAnswer(_INTERRUPTED, error=True)
        crash_points.here("before-tool")
        started = time.monotonic()
        request = Call(
            arguments={},
            key=key,
            timeout=self._context.deadline.required(),
            task=task,
            agent=self._revision.spec.name,
            money=self._context.budget.left,
        )
        answer = await self._revision.toolbox.call(call, request)
        status = "error" if answer.error else "success"
        # A name that the model made up is no label: it could make up any number of them.
        name = call.name if held else "unknown"
        self._context.metrics.tool_call(name, status, time.monotonic() - started)
        return answer


def with_unique_ids(calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
    """The calls with an id each: some servers send the same one twice, or none."""
    if len({call.id for call in calls if call.id}) == len(calls):
        return calls
    return tuple(replace(call, id=f"call_{index}") for index, call in enumerate(calls))


async def _together(steps: list[Coroutine[Any, Any, ToolAnswer]]) -> list[ToolAnswer]:
    """The answers in their order. The first failure, or a cancellation, ends them all."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
