"""A function as a tool: its schema, what it answers, and the frames in which that travels."""

from __future__ import annotations

import enum
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from agentd.catalog.python_source import syntax_problem
from agentd.manifest.json_schema import schema_error
from agentd.tools.processes.frames import LENGTH, MOST, Frames, FrameTooLong, frame
from agentd.tools.processes.function_schema import BadArguments, BadFunction, function_of
from agentd.tools.processes.plain import NoAnswer, plain


class Point(BaseModel):
    lat: float
    title: str = "here"


@dataclass
class Options:
    detail: int = 1


class Colour(enum.Enum):
    RED = "red"


def forecast(
    city: str,
    days: Annotated[int, Field(ge=1, description="How many.")] = 3,
    unit: Literal["C", "F"] = "C",
    at: Point | None = None,
    idempotency_key: str = "",
) -> None:
    """The weather of the coming days.

    It is made up.

    Args:
        city: The name of the city,
            in any language: Rome, Roma.
        days: Not this one.
        unit (str): Celsius or Fahrenheit.
        nobody: There is no such parameter.

    Returns:
        Nothing: it only looks up.
    """


def test_the_schema_comes_from_signature_and_docstring() -> None:
    tool = function_of(forecast)
    fields: Any = tool.parameters["properties"]

    assert tool.description == "The weather of the coming days.\n\nIt is made up."
    assert schema_error(tool.parameters) == ""
    assert tool.takes_key
    assert list(fields) == ["city", "days", "unit", "at"]
    assert tool.parameters["required"] == ["city"]
    assert tool.parameters["additionalProperties"] is False
    about = "The name of the city, in any language: Rome, Roma."
    assert fields["city"] == {"type": "string", "description": about}
    assert fields["days"] == {
        "type": "integer",
        "minimum": 1,
        "description": "How many.",
        "default": 3,
    }
    assert fields["unit"]["enum"] == ["C", "F"]
    assert fields["unit"]["description"] == "Celsius or Fahrenheit."
    assert fields["at"]["default"] is None


def test_titles_that_pydantic_makes_up_go_and_fields_called_title_stay() -> None:
    def take(points: list[Point], schema: str, model_config: Options, json: int = 1) -> None: ...

    parameters: Any = function_of(take).parameters

    assert set(parameters["properties"]) == {"points", "schema", "model_config", "json"}
    assert set(parameters["$defs"]["Point"]["properties"]) == {"lat", "title"}
    assert "title" not in parameters["$defs"]["Point"]


def test_arguments_become_what_the_signature_says() -> None:
    def take(day: date, at: Point, colours: set[Colour], more: Options | None = None) -> None: ...

    bound = function_of(take).bind(
        {"day": "2026-03-01", "at": {"lat": 1}, "colours": ["red"]}, key="k"
    )

    assert bound == {"day": date(2026, 3, 1), "at": Point(lat=1), "colours": {Colour.RED}}


def test_a_default_is_the_functions_own() -> None:
    tool = function_of(forecast)

    assert tool.bind({"city": "Rome"}, key="t.1.0") == {"city": "Rome", "idempotency_key": "t.1.0"}


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [({"x": 0}, "x: Input should be greater"), ({"x": 1, "y": 2}, "y: Extra inputs are not")],
)
def test_arguments_that_a_type_refuses(arguments: dict[str, Any], mistake: str) -> None:
    def take(x: Annotated[int, Field(ge=1)]) -> None: ...

    with pytest.raises(BadArguments, match=mistake):
        function_of(take).bind(arguments, key="")


def no_type(a, b: int): ...  # type: ignore[no-untyped-def]


def any_number(*many: int) -> None: ...


def any_name(**named: int) -> None: ...


def by_place(a: int, /) -> None: ...


def a_function(then: Callable[[], None]) -> None: ...


def a_thing(thing: Path | TextFile) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def a_field(x: int = Field(3, ge=1)) -> None: ...


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (no_type, "`a` has no type"),
        (any_number, "any number of arguments"),
        (any_name, "arguments of any name"),
        (by_place, "cannot be given by name"),
        (a_function, "which a model cannot give"),
        (a_thing, "'TextFile' is not defined"),
        (a_field, "has a Field as its default"),
    ],
)
def test_what_cannot_be_a_tool(function: Callable[..., Any], text: str) -> None:
    with pytest.raises(BadFunction, match=text):
        function_of(function)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ((1, 2.5, True), [1, 2.5, True]),
        ({1: {"x"}}, {"1": ["x"]}),
        (Options(2), {"detail": 2}),
        (Point(lat=1), {"lat": 1.0, "title": "here"}),
        ([Colour.RED, Decimal("1.5"), Path("a/b")], ["red", "1.5", "a/b"]),
        (datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00Z"),
        (deque([1]), [1]),
        ((n for n in range(3)), [0, 1, 2]),
        (b"\xffabc", "�abc"),
        ("\ud800", "?"),
        (float("nan"), "nan"),
    ],
)
def test_what_a_function_answers_is_json(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(expected), allow_nan=False).encode()


def deep(levels: int) -> list[Any]:
    return [deep(levels - 1)] if levels else []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 1_000_001, "more than 1,000,000 characters"),
        ({"x" * 1_000_001: 1}, "more than 1,000,000 characters"),
        (b"x" * 1_000_001, "more than 1,000,000 characters"),
        (iter(int, 1), "more than 1,000,000 characters"),
        (deep(65), "nested more than 64 deep"),
        (1 << 9_000, "bits"),
        (object(), "a value of type object is in the answer"),
        (print, "which is no data"),
    ],
)
def test_what_no_model_can_be_told(value: Any, text: str) -> None:
    with pytest.raises(NoAnswer, match=text):
        plain(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(messages=st.lists(JSON, max_size=5), cuts=st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    messages: list[Any], cuts: list[int]
) -> None:
    data = b"".join(map(frame, messages))
    frames, got, at = Frames(), [], 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        got += frames.feed(data[at : at + size])
        at += size

    assert got == messages


def test_a_frame_that_is_too_long_is_not_read() -> None:
    with pytest.raises(FrameTooLong):
        list(Frames().feed(LENGTH.pack(MOST + 1)))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (b"def f(): pass", None),
        (b"# coding: latin-1\nx = '\xe4'", None),
        (b" \n", "t.py: error: is empty"),
        (b"def f(:", "t.py:1:7: error: does not compile: invalid syntax"),
        (b"x = '\xff'", "does not compile: (unicode error) 'utf-8' codec"),
        (b"x = 1\0", "does not compile: source code string cannot contain null bytes"),
        (b"(" * 5_000, "does not compile: too many nested parentheses"),
    ],
)
def test_a_file_that_does_not_compile(source: bytes, problem: str | None) -> None:
    found = syntax_problem(source, "t.py")

    assert (problem is None) == (found is None)
    if found and problem:
        assert problem in found.render()
