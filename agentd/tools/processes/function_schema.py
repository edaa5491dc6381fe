"""A Python function as a tool: its JSON Schema comes from its signature and its docstring.

The docstring has the form of Google's style guide for Python.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python
from typing_extensions import TypedDict

from agentd.errors import AgentdError

KEY = "idempotency_key"

_NO_ARGUMENTS = {
    inspect.Parameter.VAR_POSITIONAL: "takes any number of arguments",
    inspect.Parameter.VAR_KEYWORD: "takes arguments of any name",
    inspect.Parameter.POSITIONAL_ONLY: "cannot be given by name",
}
_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Returns?|Raises|Yields?|Examples?|Notes?|Warnings?):\s*$",
    re.MULTILINE,
)
_ENTRY = re.compile(r"(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_DATA = ("default", "examples", "const", "enum")  # keywords whose values are data, not schemas


class BadFunction(AgentdError):
    """A function that cannot be a tool.

    Attributes:
        problems: for each problem the parameter that has it, or "", a text and a hint.
    """

    def __init__(self, problems: list[tuple[str, str, str]]) -> None:
        super().__init__("; ".join(text for _, text, _ in problems))
        self.problems = problems


class BadArguments(AgentdError):
    """Arguments that fit the schema, but not the types of the signature."""


@dataclass(frozen=True)
class Function:
    """A function that a model can call; `parameters` is the JSON Schema of its arguments."""

    call: Callable[..., Any]
    description: str
    parameters: Mapping[str, Any]
    takes_key: bool
    _arguments: TypeAdapter[Any]

    def bind(self, arguments: Mapping[str, Any], key: str) -> dict[str, Any]:
        """The keyword arguments for a call, converted to the types of the signature.

        Raises:
            BadArguments: one cannot be converted.
        """
        try:
            # As JSON, not as Python: only then does pydantic read a date from its text.
            bound = self._arguments.validate_json(json.dumps(arguments))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise BadArguments(f"{where}: {first['msg']}" if where else first["msg"]) from None
        return {**bound, KEY: key} if self.takes_key else bound


def function_of(call: Callable[..., Any]) -> Function:
    """Makes a tool of the function `call`.

    Raises:
        BadFunction: it cannot be one; the error has all problems.
    """
    try:
        given = inspect.signature(call).parameters
        hints = typing.get_type_hints(call, include_extras=True)
    except Exception as error:  # noqa: BLE001 (evaluating its annotations may raise anything)
        text = f"its annotations cannot be read: {type(error).__name__}: {error}"
        raise BadFunction([("", text, "")]) from None
    parameters = {name: parameter for name, parameter in given.items() if name != KEY}
    problems = [
        (name, text, hint)
        for name, parameter in parameters.items()
        for text, hint in _problems(parameter, hints)
    ]
    if problems:
        raise BadFunction(problems)
    description, about = _read(inspect.getdoc(call) or "")
    arguments = _adapter(parameters, hints)
    return Function(
        call=call,
        description=description,
        parameters=_schema(arguments, parameters, about),
        takes_key=KEY in given,
        _arguments=arguments,
    )


def _problems(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name = parameter.name
    if parameter.kind in _NO_ARGUMENTS:
        text = f"`{parameter}` {_NO_ARGUMENTS[parameter.kind]}"
        yield text, "a model needs a name and a type for each"
    elif name not in hints:
        yield f"`{name}` has no type", f"write `{name}: str`, or its true type"
    elif isinstance(parameter.default, FieldInfo):
        yield f"`{name}` has a Field as its default", "write `Annotated[type, Field(…)] = default`"
    else:
        try:
            TypeAdapter(hints[name]).json_schema()
        except (PydanticUserError, TypeError, NameError) as error:
            what = inspect.formatannotation(hints[name])
            reason = str(error).partition("\n")[0].partition(". ")[0]
            yield f"`{name}` is a {what}, which a model cannot give: {reason}", ""


def _adapter(
    parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]
) -> TypeAdapter[Any]:
    """Reads the arguments. It is a TypedDict, because the fields of a pydantic model cannot have
    every name: `schema`, `json` and `model_config` are taken."""
    fields = {
        name: hints[name] if parameter.default is parameter.empty else NotRequired[hints[name]]
        for name, parameter in parameters.items()
    }
    kind: Any = TypedDict("Arguments", fields)  # type: ignore[operator]
    kind.__pydantic_config__ = ConfigDict(extra="forbid")
    return TypeAdapter(kind)


def _schema(
    arguments: TypeAdapter[Any],
    parameters: Mapping[str, inspect.Parameter],
    about: Mapping[str, str],
) -> dict[str, Any]:
    schema = _untitled(arguments.json_schema())
    for name, field in schema.setdefault("properties", {}).items():
        if name in about:
            field.setdefault("description", about[name])
        default = parameters[name].default
        if default is not inspect.Parameter.empty:
            try:
                field["default"] = to_jsonable_python(default)
            except PydanticSerializationError:
                continue  # JSON cannot express it. The parameter is still optional.
    return schema


def _untitled(schema: Any) -> Any:
    """A schema without the titles that pydantic makes of names: they only cost tokens."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: each if key in _DATA else _untitled(each)
        for key, each in schema.items()
        if key != "title" or not isinstance(each, str)
    }


def _read(docstring: str) -> tuple[str, dict[str, str]]:
    """The description in a docstring, and the text about each parameter."""
    description, *sections = _SECTION.split(docstring)
    about: dict[str, str] = {}
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title in ("Args", "Arguments", "Parameters"):
            about |= _entries(inspect.cleandoc(body))
    return description.strip(), about


def _entries(body: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in body.splitlines():
        entry = None if line.startswith(" ") else _ENTRY.fullmatch(line.strip())
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
