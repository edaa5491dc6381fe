"""The tool calls of one turn: made concurrently, each answer recorded before the run continues."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from agentd import crash_points
from agentd.models.port import ToolCall
from agentd.models.wire.chat import call_id
from agentd.protocol.message import AgentMessage
from agentd.queue.decisions import Decision
from agentd.queue.journal import ANSWERED, CALLED
from agentd.run.approval_gate import ApprovalGate
from agentd.run.context import RunContext
from agentd.run.repetition import Repetitions
from agentd.run.revision import Revision
from agentd.telemetry import active
from agentd.tools.port import Call
from agentd.tools.toolbox import MOST_SHOWN, ToolAnswer

_CALLS_AT_ONCE = 16  # tool calls of one turn that run at the same time

_INTERRUPTED = (
    "the process was interrupted during this call; whether the call took effect is not known, and "
    "it was not repeated"
)


class TurnCalls:
    """The tool calls of one run.

    Args:
        direct: no model asks for the calls. So a failed call is not recorded as an answer if it may
            be made again: the next attempt at the task does that.
        longest: the characters of an answer; the rest is cut.
    """

    def __init__(
        self,
        revision: Revision,
        message: AgentMessage,
        context: RunContext,
        *,
        direct: bool = False,
        longest: int = MOST_SHOWN,
    ) -> None:
        self._revision = revision
        self._message = message
        self._context = context
        self._direct = direct
        self._longest = longest
        self._gate = ApprovalGate(revision, message, context)
        self._repetitions = Repetitions(revision.spec.manifest.limits.repeated_calls)
        self._room = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def make(self, turn: int, calls: Sequence[ToolCall]) -> list[ToolAnswer]:
        """The answers to the tool calls of this turn, in their order.

        Raises:
            Paused: some of the calls need approval; none is made until it is decided.
            BusError: an answer could not be recorded, or a call needs NATS.
            Undeliverable: no time is left (`expired`), or the model repeats a call that it was
                asked not to repeat (`repeated_calls`).
        """
        most = self._revision.spec.manifest.limits.calls
        allowed = calls[:most]
        refused = self._repetitions.refused(allowed)
        await self._gate.require(turn, allowed, refused=refused)
        answers = await _together(
            [self._in_turn(turn, i, call, refused.get(i)) for i, call in enumerate(allowed)]
        )
        # Not recorded: a resumed run answers them in the same way.
        text = f"this call was not made: a turn has at most {most} calls; make it in the next turn"
        return answers + [ToolAnswer(text, error=True)] * (len(calls) - len(allowed))

    async def _in_turn(
        self, turn: int, index: int, call: ToolCall, refusal: str | None
    ) -> ToolAnswer:
        async with self._room:
            return await self._answer(turn, index, call, refusal)

    async def _answer(
        self, turn: int, index: int, call: ToolCall, refusal: str | None
    ) -> ToolAnswer:
        """The answer to one call, from the journal if the run is resumed."""
        recorded = self._context.steps.get((ANSWERED, turn, index))
        if recorded is not None:
            toolbox = self._revision.toolbox
            return toolbox.recorded(call, recorded["text"], error=recorded["error"])
        decision = None
        if refusal is not None:
            answer = ToolAnswer(refusal, error=True, final=True)
        else:
            decision = self._gate.decision(turn, index)
            settled = await self._gate.settled(turn, index, call)
            made = isinstance(settled, ToolCall)
            answer = await self._call(turn, index, settled) if made else settled
            if decision and decision.arguments is not None and not self._direct:
                answer = replace(answer, text=f"{_edited(decision)}\n{answer.text}")
        crash_points.here("after-tool")
        if self._direct and answer.error and not answer.final:
            return answer
        await self._context.journal().step(
            ANSWERED,
            turn,
            index,
            name=call.name,
            text=answer.text,
            error=answer.error,
            **(_on_record(decision) if decision else {}),
        )
        return answer

    async def _call(self, turn: int, index: int, call: ToolCall) -> ToolAnswer:
        """Makes a call. If the call has effects and may have been made before, it is repeated only
        where the tool passes on its key, so that the other side recognises it."""
        task = self._message
        declared = self._revision.toolbox.tools.get(call.name)
        key = f"{task.id}.{turn}.{index}"
        if declared and declared.entry.effects:
            if (CALLED, turn, index) not in self._context.steps:
                await self._context.journal().step(CALLED, turn, index, name=call.name, key=key)
            elif not declared.tool.takes_key:
                return ToolAnswer(_INTERRUPTED, error=True, final=True)
        crash_points.here("before-tool")
        started = time.monotonic()
        request = Call(
            arguments={},
            key=key,
            timeout=self._context.deadline.required(),
            task=task,
            agent=self._revision.spec.name,
            money=self._context.budget().left,
        )
        answer = await self._traced(call, request, declared.tool.description if declared else "")
        if declared and declared.entry.effects and not declared.tool.takes_key:
            answer = replace(answer, final=True)
        status = "error" if answer.error else "success"
        # Every label value is a series in Prometheus: a name that a model invents must not be one.
        name = call.name if declared else "unknown"
        self._context.metrics.tool_call(name, status, time.monotonic() - started)
        return answer

    async def _traced(self, call: ToolCall, request: Call, description: str) -> ToolAnswer:
        """Makes the call, in a span of its own where there are spans."""
        made = self._revision.toolbox.call(call, request, longest=self._longest)
        if active.tracer is None:
            return await made
        known = call.name if call.name in self._revision.toolbox.tools else "unknown"
        with active.tracer.tool(
            known, call.arguments, call_id=call.id, description=description, agent=request.agent
        ) as span:
            answer = await made
            span.answered(answer.text, error=answer.error)
            return answer


def _edited(decision: Decision) -> str:
    """What the model must know: its chat has the arguments that it wrote itself."""
    by = decision.by or "a person"
    written = json.dumps(decision.arguments, ensure_ascii=False)
    return f"[{by} changed the arguments of this call to {written}]"


def _on_record(decision: Decision) -> dict[str, Any]:
    """What the journal has of a decision; the log has the decision itself."""
    edited = {} if decision.arguments is None else {"arguments": decision.arguments}
    return {"decision": decision.verb, "by": decision.by, **edited}


def with_unique_ids(
    calls: Sequence[ToolCall], *, turn: int, taken: Collection[str]
) -> tuple[ToolCall, ...]:
    """The calls with ids that are unique in the chat, where `taken` are in use: some servers send
    the same id for every call, or none."""
    known, unique = set(taken), list[ToolCall]()
    for index, call in enumerate(calls):
        if not call.id or call.id in known:
            call = replace(call, id=call_id(turn, index))
        known.add(call.id)
        unique.append(call)
    return tuple(unique)


async def _together(steps: list[Coroutine[Any, Any, ToolAnswer]]) -> list[ToolAnswer]:
    """The answers in their order. The first failure, or a cancellation, ends them all."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
