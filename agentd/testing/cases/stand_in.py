"""Tools and models that stand in for the real ones, and a tape of what the real ones said."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agentd.manifest import tools as manifest_tools
from agentd.models.port import ChatRequest, Completion, Model, Usage
from agentd.testing.cases.case import StandIn
from agentd.tools.port import Call, Emitted, Tool, ToolError
from agentd.tools.toolbox import Held, Toolbox, ToolboxEntry, emitted_by

_ANYTHING: Mapping[str, Any] = {"type": "object"}


def replaced(toolbox: Toolbox, stand_ins: Mapping[str, StandIn]) -> Toolbox:
    """The toolbox with some tools answered for, by the names that the model calls them.

    One that changes something outside, or that a person must agree to, is never really called from
    a test.
    """
    held = toolbox.held
    kept = {name: each for name, each in held.items() if name not in stand_ins}
    tools: list[Tool] = [
        _Refusing(name) if each.declared.effects or each.declared.approval else _Shown(each)
        for name, each in kept.items()
    ]
    for name, stand_in in stand_ins.items():
        tools.append(_Scripted(name, held.get(name), iter(_answers(stand_in))))
    # Nobody declares them again: names, schemas and bounds are those of the tools themselves.
    return Toolbox(
        [ToolboxEntry(manifest_tools.ToolEntry.model_construct(), _Fixed(tuple(tools), toolbox))]
    )


def _answers(stand_in: StandIn) -> Iterator[Any]:
    """What it says, call by call; the last answer for ever."""
    if stand_in.error is not None:
        yield from itertools.repeat(ToolError(stand_in.error))
    said = stand_in.in_turn or [stand_in.returns]
    yield from said
    yield from itertools.repeat(said[-1])


@dataclass(frozen=True)
class _Fixed:
    """The source of the tools of a test, with the texts that the real ones give for the prompt."""

    tools: Sequence[Tool]
    real: Toolbox
    trouble = ""

    async def prepare(self) -> Mapping[str, str]:
        """See `agentd.tools.port.Preparing`."""
        return await self.real.prepare()


class _Shown:
    """A real tool under the name and description that the manifest gives it."""

    def __init__(self, held: Held) -> None:
        self.name = held.name
        self.description = held.declared.description or held.tool.description
        self.parameters = held.tool.parameters
        self.takes_key = held.tool.takes_key
        self.call = held.tool.call
        self.emitted = partial(emitted_by, held.tool)


class _Scripted:
    """A tool that says what a test has written down."""

    takes_key = True

    def __init__(self, name: str, held: Held | None, answers: Iterator[Any]) -> None:
        self.name = name
        self.description = held.tool.description if held else ""
        self.parameters = held.tool.parameters if held else _ANYTHING
        self._held = held
        self._answers = answers

    async def call(self, call: Call) -> Any:
        """The next answer."""
        del call
        answer = next(self._answers)
        if isinstance(answer, ToolError):
            raise answer
        return answer

    def emitted(self, arguments: Mapping[str, Any]) -> Sequence[Emitted]:
        """Those of the tool that it stands in for; see `agentd.tools.port.Emitting`."""
        return emitted_by(self._held.tool, arguments) if self._held else ()


class _Refusing:
    """A tool with effects, or in need of approval, that nothing stands in for."""

    takes_key, description, parameters = True, "", _ANYTHING

    def __init__(self, name: str) -> None:
        self.name = name

    async def call(self, call: Call) -> Any:
        """Never made."""
        del call
        why = "has effects or needs approval"
        raise ToolError(f"{self.name} {why}, and nothing stands in for it in this test")


class Taped:
    """A model whose answers are kept."""

    def __init__(self, model: Model, tape: list[Completion]) -> None:
        self.name = model.name
        self.is_mock = model.is_mock
        self._model = model
        self._tape = tape

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """See `agentd.models.port.Model`."""
        completion = await self._model.complete(request, on_delta)
        self._tape.append(completion)
        return completion

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return self._model.cost_of(usage)


def as_turn(completion: Completion) -> dict[str, Any]:
    """A completion as a turn of a mock script."""
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
    return turn or {"text": ""}
