"""Test doubles: tools with given answers, and a model that records what it answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agentd.manifest import tools as manifest_tools
from agentd.models.port import ChatRequest, Completion, Model, Usage
from agentd.testing.cases.case import StandIn
from agentd.tools.port import Call, Emitted, Tool, ToolError
from agentd.tools.toolbox import DeclaredTool, Toolbox, ToolboxEntry, emitted_by

_ANYTHING: Mapping[str, Any] = {"type": "object"}


def replaced(toolbox: Toolbox, stand_ins: Mapping[str, StandIn]) -> Toolbox:
    """The toolbox with test doubles, whose keys are the names by which the model calls the tools.

    A tool with effects, one that needs approval, or one that asks a person is never really called
    from a test: without a double, it answers with an error.
    """
    declared = toolbox.tools
    kept = {name: each for name, each in declared.items() if name not in stand_ins}
    tools: list[Tool] = [
        _Refusing(name) if _must_not_be_called(each.entry) else _Shown(each)
        for name, each in kept.items()
    ]
    for name, stand_in in stand_ins.items():
        tools.append(_Scripted(name, declared.get(name), iter(_answers(stand_in))))
    # An entry without fields: names, descriptions and schemas come from the doubles themselves.
    return Toolbox(
        [ToolboxEntry(manifest_tools.ToolEntry.model_construct(), _Fixed(tuple(tools), toolbox))]
    )


def _must_not_be_called(entry: manifest_tools.ToolEntry) -> bool:
    return bool(entry.effects or entry.approval or entry.ask)


def _answers(stand_in: StandIn) -> Iterator[Any]:
    """Yields the answers call by call; the last one is repeated."""
    if stand_in.error is not None:
        yield from itertools.repeat(ToolError(stand_in.error))
    answers = stand_in.in_turn or [stand_in.returns]
    yield from answers
    yield from itertools.repeat(answers[-1])


@dataclass(frozen=True)
class _Fixed:
    """The source of the tools of a test. Its texts for the prompt are those of the real tools."""

    tools: Sequence[Tool]
    real: Toolbox
    trouble = ""

    async def prepare(self) -> Mapping[str, str]:
        """See `agentd.tools.port.Preparing`."""
        return await self.real.prepare()


class _Shown:
    """A real tool under the name and description that the manifest gives it."""

    def __init__(self, declared: DeclaredTool) -> None:
        self.name = declared.name
        self.description = declared.entry.description or declared.tool.description
        self.parameters = declared.tool.parameters
        self.takes_key = declared.tool.takes_key
        self.call = declared.tool.call  # the toolbox checks arguments and time
        self.emitted = partial(emitted_by, declared.tool)


class _Scripted:
    """A tool that returns the answers that the case gives."""

    takes_key = True

    def __init__(self, name: str, declared: DeclaredTool | None, answers: Iterator[Any]) -> None:
        self.name = name
        self.description = declared.tool.description if declared else ""
        self.parameters = declared.tool.parameters if declared else _ANYTHING
        self._declared = declared
        self._answers = answers

    async def call(self, call: Call) -> Any:
        """Returns or raises the next answer."""
        del call
        answer = next(self._answers)
        if isinstance(answer, ToolError):
            raise answer
        return answer

    def emitted(self, arguments: Mapping[str, Any]) -> Sequence[Emitted]:
        """Those of the tool that it stands in for; see `agentd.tools.port.Emitting`."""
        return emitted_by(self._declared.tool, arguments) if self._declared else ()


class _Refusing:
    """A tool with effects, or one that needs approval, for which the case has no double."""

    takes_key, description, parameters = True, "", _ANYTHING

    def __init__(self, name: str) -> None:
        self.name = name

    async def call(self, call: Call) -> Any:
        """Refuses the call.

        Raises:
            ToolError: always.
        """
        del call
        why = "has effects, needs approval or asks a person"
        raise ToolError(f"{self.name} {why}; this test gives no answer for it under `tools`")


@dataclass
class Tape:
    """What models are asked and answer: the first request, and all answers."""

    asked: ChatRequest | None = None
    answers: list[Completion] = field(default_factory=list[Completion])


class RecordingModel:
    """A model that puts on tape what it is asked and answers, under any name."""

    def __init__(self, model: Model, tape: Tape, *, name: str = "") -> None:
        self.name = name or model.name
        self.is_mock = model.is_mock
        self._model = model
        self._tape = tape

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `agentd.models.port.Model`."""
        self._tape.asked = self._tape.asked or request
        completion = await self._model.complete(request, on_delta)
        self._tape.answers.append(completion)
        return completion

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self._model.cost_of(usage)


def as_turn(completion: Completion) -> dict[str, Any]:
    """Converts a completion to a turn of a mock script."""
    turn: dict[str, Any] = {"text": completion.text} if completion.text else {}
    if completion.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in completion.tool_calls
        ]
    if completion.reasoning:
        turn["reasoning"] = completion.reasoning
    if usage := completion.usage:
        counts = {"input": usage.input_tokens, "output": usage.output_tokens}
        turn["usage"] = {**counts, "reasoning": usage.reasoning_tokens}
    if completion.cut:
        turn["finish"] = completion.finish_reason
    return turn or {"text": ""}
