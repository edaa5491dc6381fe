"""A `*.test.yaml`: cases for one agent, and what stands in for its model and its tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from agentd.manifest.diagnose import diagnose
from agentd.manifest.files import display_path
from agentd.manifest.model import ModelRef
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
SEEN = ("output", "result", "calls", "content", "message")

_Texts = Annotated[tuple[str, ...], BeforeValidator(as_list)]
_Count = Annotated[Whole, Field(ge=0, le=1000)]


class ToolCallExpectation(StrictModel):
    """A call that the agent must make: its tool, and the arguments that it must have at least."""

    name: Name
    arguments: dict[str, Any] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Expectation(StrictModel):
    """What must be true of a run."""

    contains: _Texts = ()
    matches: _Texts = ()
    json_: Any = Field(default=None, alias="json")
    tool_calls: tuple[ToolCallExpectation, ...] | None = None
    max_turns: Annotated[Whole, Field(ge=1)] | None = None
    max_cost: Money | None = None
    error: str | None = None
    that: Expression | None = None
    judge: str | None = Field(default=None, min_length=1)

    @field_validator("matches")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}", "") from None
        return patterns

    @field_validator("that")
    @classmethod
    def _compiles(cls, that: str | None) -> str | None:
        if that is not None:
            try:
                compile_expression(that, names=SEEN)
            except InvalidExpression as error:
                raise ValueError(str(error), error.hint) from None
        return that


class StandIn(StrictModel):
    """What a tool answers in a test: always the same, one after the other, or an error."""

    returns: Any = None
    in_turn: list[Any] | None = Field(default=None, min_length=1)
    error: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"returns": value}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("needs exactly one of returns, in_turn and error", "")
        return self


class Case(StrictModel):
    """One question to the agent, and what is expected of the answer."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    input: Any = None
    message: dict[str, Any] = Field(default={})
    model: Annotated[Any, one_of_types("`mock/echo` or a list of turns", str, list)] = None
    tools: dict[Name, StandIn] = Field(default={})
    expect: Expectation
    runs: Annotated[Whole, Field(ge=1, le=100)] = 1
    pass_: _Count | None = Field(default=None, alias="pass")

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
            raise ValueError(f"is no script: {error}", "see mock/script") from None
        return model

    @property
    def stand_in(self) -> ModelRef | None:
        """What answers in the place of the agent's model, if the case says."""
        if self.model is None:
            return None
        if isinstance(self.model, str):
            return ModelRef(name=self.model)
        return ModelRef(name="mock/script", script=self.model)

    @property
    def needed(self) -> int:
        """How many of its runs must pass."""
        return self.runs if self.pass_ is None else min(self.pass_, self.runs)


class CaseFile(StrictModel):
    """What one file says; `judge` is the model that answers for `expect.judge`."""

    agent: Name | None = None
    judge: ModelRef | None = None
    cases: Annotated[tuple[Case, ...], BeforeValidator(lambda each: not_empty(tuple(each)))]

    @field_validator("cases")
    @classmethod
    def _unique_names(cls, cases: tuple[Case, ...]) -> tuple[Case, ...]:
        seen: set[str] = set()
        for case in cases:
            if case.name in seen:
                raise ValueError(f"has two cases called `{case.name}`", "give each its own name")
            seen.add(case.name)
        return cases


@dataclass(frozen=True)
class Suite:
    """The cases of a file; `agent` is whom they are about."""

    file: Path
    agent: str
    judge: ModelRef | None
    cases: Sequence[Case]

    @property
    def cassette(self) -> Path:
        """Where the recorded answers are."""
        return self.file.with_name(f"{_stem(self.file)}.cassette.json")


def read_suites(folder: Path) -> tuple[list[Suite], list[Problem]]:
    """The test files below `folder`, in the order of their names, and all that is wrong in them."""
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
        said = CaseFile.model_validate(plain(root))
    except ValidationError as error:
        return None, problems + diagnose(error, root, model=CaseFile, subject="the test")
    return Suite(file, said.agent or _stem(file), said.judge, said.cases), problems


def _stem(file: Path) -> str:
    for ending in ENDINGS:
        if file.name.endswith(ending):
            return file.name.removesuffix(ending)
    return file.stem
