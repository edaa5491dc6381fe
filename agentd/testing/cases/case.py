"""The format of a `*.test.yaml` file: cases for one agent, with the answers of test doubles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from agentd.manifest.diagnose import diagnose
from agentd.manifest.file_schema import schema_of
from agentd.manifest.files import display_path
from agentd.manifest.model import ModelRef, ShortRef
from agentd.manifest.quantities import (
    Expression,
    Money,
    Name,
    Whole,
    as_list,
    not_empty,
    one_of_types,
)
from agentd.manifest.strict_model import StrictModel
from agentd.manifest.yaml import reader
from agentd.manifest.yaml.nodes import Map, plain
from agentd.models.mock_script import ScriptError, parse
from agentd.problems import Problem, errors
from agentd.templates.expression import InvalidExpression, compile_expression

ENDINGS = (".test.yaml", ".test.yml")
SEEN = ("output", "result", "calls", "content", "message")  # the names in `expect.that`

_Texts = Annotated[
    tuple[str, ...], BeforeValidator(as_list, json_schema_input_type=str | tuple[str, ...])
]
_Count = Annotated[Whole, Field(ge=0, le=1000)]


class ToolCallExpectation(StrictModel):
    """A tool call that the agent must make; it may have more arguments than these."""

    name: Name = Field(description="The name of the tool.")
    arguments: dict[str, Any] = Field(
        default={}, description="Arguments that the call must have; it may have more."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


# The validators of the two short forms change nothing: the classes do. They are here so that the
# JSON Schema allows the short forms as well.
_ToolCall = Annotated[
    ToolCallExpectation,
    BeforeValidator(lambda value: value, json_schema_input_type=Name | ToolCallExpectation),
]


class Expectation(StrictModel):
    """The conditions that a run must meet (`expect:`)."""

    contains: _Texts = Field(
        default=(), description="Texts that the answer contains; upper and lower case are equal."
    )
    matches: _Texts = Field(
        default=(), description="Regular expressions of which each is found in the answer."
    )
    json_: Any = Field(
        default=None,
        alias="json",
        description="A value that the answer contains; its mappings may have more fields.",
    )
    tool_calls: tuple[_ToolCall, ...] | None = Field(
        default=None, description="Calls that the run makes in this order; `[]` allows none."
    )
    max_turns: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="The most turns of the model."
    )
    max_cost: Money | None = Field(default=None, description="The most that the run costs, in USD.")
    error: str | None = Field(
        default=None, description="The code of the error with which the run must fail."
    )
    that: Expression | None = Field(
        default=None,
        description="An expression that must hold, over output, result, calls, content, message.",
    )
    judge: str | None = Field(
        default=None,
        min_length=1,
        description="A condition in words, which the model of `judge:` decides about.",
    )

    @field_validator("matches")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"is not a regular expression: {error}", "") from None
        return patterns

    @field_validator("that")
    @classmethod
    def _compiles(cls, that: str | None) -> str | None:
        if that is not None:
            try:
                compile_expression(that, names=SEEN)
            except InvalidExpression as error:
                raise ValueError(str(error), error.problems[0].hint) from None
        return that


class StandIn(StrictModel):
    """The answers of a tool in a test: always the same, one after the other, or an error."""

    returns: Any = Field(default=None, description="The answer of every call.")
    in_turn: list[Any] | None = Field(
        default=None, min_length=1, description="The answers of the calls, one after the other."
    )
    error: str | None = Field(default=None, description="The error of every call.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"returns": value}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("needs exactly one of returns, in_turn and error", "")
        return self


_Answers = Annotated[
    StandIn,
    BeforeValidator(
        lambda value: value,
        json_schema_input_type=StandIn | list[Any] | str | float | bool | None,
    ),
]


class Case(StrictModel):
    """One task for the agent, and the conditions that its run must meet."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="What the case shows; reports name it so."
    )
    input: Any = Field(default=None, description="The content of the task: a text or any value.")
    message: dict[str, Any] = Field(
        default={}, description="More fields of the message, such as `context`."
    )
    # Never a real model: a test that is played offline must not call one by mistake.
    model: Annotated[
        Any,
        one_of_types("`mock/echo` or a list of turns", str, list),
        WithJsonSchema({"anyOf": [{"const": "mock/echo"}, {"type": "array"}]}),
    ] = Field(
        default=None, description="In place of the agent's model: `mock/echo`, or a list of turns."
    )
    tools: dict[Name, _Answers] = Field(
        default={}, description="What tools answer, by their names; they are not called."
    )
    expect: Expectation = Field(description="The conditions that the run must meet.")
    # Real models answer differently each time: only live runs are repeated.
    runs: Annotated[Whole, Field(ge=1, le=100)] = Field(
        default=1, description="How often the case is played with `--live`."
    )
    pass_: _Count | None = Field(
        default=None, alias="pass", description="How many of the runs must pass; default: all."
    )

    @field_validator("model")
    @classmethod
    def _mock(cls, model: str | list[Any]) -> str | list[Any]:
        if isinstance(model, str):
            if model != "mock/echo":
                raise ValueError("must be `mock/echo` or a list of turns", "tests run offline")
            return model
        try:
            parse(model)
        except ScriptError as error:
            raise ValueError(f"is not a valid script: {error}", "see mock/script") from None
        return model

    @property
    def stand_in(self) -> ModelRef | None:
        """The model that replaces the agent's model; None if the case names none."""
        if self.model is None:
            return None
        if isinstance(self.model, str):
            return ModelRef(name=self.model)
        return ModelRef(name="mock/script", script=self.model)

    @property
    def needed(self) -> int:
        """How many of the runs must pass."""
        return self.runs if self.pass_ is None else min(self.pass_, self.runs)


class CaseFile(StrictModel):
    """The content of one file; `judge` is the model that decides about `expect.judge`."""

    agent: Name | None = Field(
        default=None, description="The agent; default: that of the file beside it."
    )
    judge: ShortRef | None = Field(
        default=None, description="The model that decides about `expect.judge`."
    )
    cases: Annotated[
        tuple[Case, ...], AfterValidator(not_empty), Field(json_schema_extra={"minItems": 1})
    ] = Field(description="The cases, each with a name of its own.")

    @field_validator("cases")
    @classmethod
    def _unique_names(cls, cases: tuple[Case, ...]) -> tuple[Case, ...]:
        seen: set[str] = set()
        for case in cases:
            if case.name in seen:
                raise ValueError(f"has two cases called `{case.name}`", "give each its own name")
            seen.add(case.name)
        return cases


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a `*.test.yaml` file."""
    return schema_of(CaseFile, "agentd test", "Test cases for one agent.")


@dataclass(frozen=True)
class Suite:
    """The cases of one file, and the name of the agent that they test."""

    file: Path
    agent: str
    judge: ModelRef | None
    cases: Sequence[Case]

    @property
    def cassette(self) -> Path:
        """The file with the recorded answers of the models."""
        return self.file.with_name(f"{_stem(self.file)}.cassette.json")


def read_suites(folder: Path) -> tuple[list[Suite], list[Problem]]:
    """Reads the test files below `folder`, in the order of their names, with all their problems."""
    suites: list[Suite] = []
    problems: list[Problem] = []
    for file in sorted(path for path in folder.rglob("*") if path.name.endswith(ENDINGS)):
        suite, found = _read(file)
        problems += found
        if suite:
            suites.append(suite)
    return suites, problems


def _read(file: Path) -> tuple[Suite | None, list[Problem]]:
    document = reader.read(file.read_bytes(), display_path(file))
    root = document.root
    problems = list(document.problems)
    if errors(problems) or root is None:
        return None, problems
    if not isinstance(root, Map):
        return None, [root.span.problem("must be a mapping with `cases`")]
    try:
        content = CaseFile.model_validate(plain(root))
    except ValidationError as error:
        return None, problems + diagnose(error, root, model=CaseFile, subject="the test")
    return Suite(file, content.agent or _stem(file), content.judge, content.cases), problems


def _stem(file: Path) -> str:
    for ending in ENDINGS:
        if file.name.endswith(ending):
            return file.name.removesuffix(ending)
    return file.stem
