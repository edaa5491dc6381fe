"""A run without a model: one tool call, whose arguments are expressions over the message.

The call is recorded as a turn of a model is, so a resumed run makes it with the same arguments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from agentd.errors import ModelError, PromptError, TaskError
from agentd.models.port import Completion, ToolCall, Usage
from agentd.models.wire.chat import call_id
from agentd.protocol.message import AgentMessage
from agentd.queue.journal import TURN
from agentd.run.context import RunContext
from agentd.run.conversation import template_context
from agentd.run.model_call import from_journal
from agentd.run.output import ANY_OBJECT
from agentd.run.revision import Revision
from agentd.run.sender import SendersTools
from agentd.run.tool_calls import TurnCalls

_LONGEST = 1_000_000  # characters of an answer


async def answer(revision: Revision, message: AgentMessage, context: RunContext) -> str | None:
    """The answer of the tool that the manifest names under `call`; None if its `when` is false.

    Raises:
        TaskError: an expression fails for this message (`call_failed`), the call failed or was
            denied (`tool_failed`), or the answer is too long (`answer_too_large`).
        ModelError: the sender asks for a model (`model_not_allowed`).
        Paused: the call needs approval.
        BusError: the journal is out of reach, or the call needs NATS.
    """
    _require_nothing_for_a_model(revision, message)
    call = await _planned(revision, message, context)
    if call is None:
        return None
    await revision.toolbox.prepare()
    calls = TurnCalls(revision, message, context, direct=True, longest=_LONGEST)
    [made] = await calls.make(1, [call])
    if made.error:
        raise TaskError(made.text, code="tool_failed", retryable=not made.final)
    if made.cut:
        text = f"the answer of {call.name} has more than {_LONGEST:,} characters"
        raise TaskError(text, code="answer_too_large")
    if context.reader:
        context.reader.push(made.text)
    return made.text


def value_of(text: str) -> Any:
    """An answer as data: parsed if it is JSON, or else the text."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def completion_of(text: str, *calls: ToolCall) -> Completion:
    """A completion of no model, which costs nothing."""
    return Completion(text, "", "stop", calls, usage=Usage(0, 0), cost=0.0)


def _require_nothing_for_a_model(revision: Revision, message: AgentMessage) -> None:
    """Checks that the sender wants nothing that only a model could do.

    Raises:
        TaskError: it names a model, brings tools, or wants another form of the answer.
    """
    payload, name = message.payload, revision.spec.name
    if payload.model is not None:
        text = f"payload.model is {payload.model!r}, but {name} has no model"
        raise ModelError(text, code="model_not_allowed")
    SendersTools.of(revision.spec.manifest, message)
    if payload.answer_schema not in (None, ANY_OBJECT):
        text = f"{name} has no model that could fit its answer to payload.answerSchema"
        raise TaskError(text, code="answer_schema")


async def _planned(
    revision: Revision, message: AgentMessage, context: RunContext
) -> ToolCall | None:
    """The call, from the journal if the run is resumed; None if none is to be made."""
    recorded = context.steps.get((TURN, 1, 0))
    completion = from_journal(recorded["completion"]) if recorded else None
    if completion and len(completion.tool_calls) == 1:
        return completion.tool_calls[0]
    declared = revision.spec.manifest.call
    assert declared is not None
    values = template_context(revision, revision.model, message, context.now)
    try:
        if declared.when and not revision.spec.expressions[declared.when].evaluate(values):
            return None
        given = _evaluated(declared.arguments, revision, values)
        arguments = json.dumps(given, ensure_ascii=False, allow_nan=False)
    except (PromptError, TypeError, ValueError) as error:
        raise TaskError(f"call: {error}", code="call_failed") from error
    call = ToolCall(call_id(1, 0), declared.tool, arguments)
    await context.journal().step(TURN, 1, completion=asdict(completion_of("", call)))
    return call


def _evaluated(value: Any, revision: Revision, values: Mapping[str, Any]) -> Any:
    match value:
        case str():
            return revision.spec.expressions[value].evaluate(values)
        case dict():
            return {name: _evaluated(each, revision, values) for name, each in value.items()}
        case list() | tuple():
            return [_evaluated(each, revision, values) for each in value]
        case _:
            return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
