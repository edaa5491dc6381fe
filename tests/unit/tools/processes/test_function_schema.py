"""A function as a tool: its schema, and the arguments that it accepts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from agentd.manifest.json_schema.check import schema_error
from agentd.tools.processes.function_schema import BadArguments, BadFunction, function_of
from tests.unit.tools.processes.samples import Colour, Options, Point


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
