"""Describes a function of `tools/`: its schema, or the problems that keep it from being a tool.

This runs in a worker process, because it imports the file. The answer is plain data.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from agentd.problems import did_you_mean
from agentd.tools.processes.function_schema import BadFunction, Function, function_of
from agentd.tools.processes.modules import Modules, NameTaken

_LONGEST = 500  # characters of an error


def load(modules: Modules, name: str) -> Function:
    """Loads the function `file.py:function`; raises whatever its file raises."""
    file, _, attribute = name.partition(":")
    return function_of(getattr(modules.load(file), attribute))


def describe(modules: Modules, name: str) -> dict[str, Any]:
    """`description`, `parameters` and `takes_key` of a function; or its `problems`.

    A problem has a `text`, a `hint` and, where the place is known, `file`, `line`, `column` and the
    `word` at that place.
    """
    file, _, attribute = name.partition(":")
    try:
        module = modules.load(file)
    except BaseException as error:  # noqa: BLE001 (the file's own code may raise SystemExit, too)
        return {"problems": [_of_import(modules, file, error)]}
    function = getattr(module, attribute, None)
    if function is None:
        known = [each for each, value in vars(module).items() if inspect.isroutine(value)]
        return {
            "problems": [
                _problem(f"{file} has no function `{attribute}`", did_you_mean(attribute, known))
            ]
        }
    if inspect.isclass(function) or not callable(function):
        return {"problems": [_problem(f"`{attribute}` in {file} is not a function", "")]}
    try:
        tool = function_of(function)
    except BadFunction as error:
        return {"problems": list(_of_signature(modules, function, error))}
    return {
        "description": tool.description,
        "parameters": tool.parameters,
        "takes_key": tool.takes_key,
    }


def _of_import(modules: Modules, file: str, error: BaseException) -> dict[str, Any]:
    place = modules.place_of(error)
    where = {"file": place[0], "line": place[1]} if place else {}
    if isinstance(error, NameTaken):
        text = f"{file} has the same name as another module, `{error}`"
        return _problem(text, "rename it")
    if isinstance(error, SyntaxError) and place:
        return _problem(f"does not compile: {error.msg}", "", **where, column=error.offset or 0)
    if isinstance(error, ModuleNotFoundError) and error.name:
        # Not all installed packages, which would take a walk through the disk; those loaded do.
        known = {*sys.stdlib_module_names, *(name for name in sys.modules if "." not in name)}
        hint = did_you_mean(error.name, known) or "install it where agentd is installed"
        return _problem(f"there is no module `{error.name}`", hint, **where)
    text = f"{type(error).__name__}: {error}".removesuffix(": ")[:_LONGEST]
    return _problem(f"cannot be imported: {text}", "", **where)


def _of_signature(
    modules: Modules, function: Callable[..., Any], error: BadFunction
) -> Iterator[dict[str, Any]]:
    name = function.__name__
    for parameter, text, hint in error.problems:
        where = _place(modules, inspect.unwrap(function), parameter or name)
        yield _problem(f"`{name}` cannot be a tool: {text}", hint, **where)


def _place(modules: Modules, function: Callable[..., Any], word: str) -> dict[str, Any]:
    """The place of the first occurrence of a word in the source of a function."""
    try:
        lines, first = inspect.getsourcelines(function)
        path = inspect.getsourcefile(function)
    except (OSError, TypeError):
        return {}
    file = modules.name_of(path or "")
    for number, line in enumerate(lines, first):
        found = re.search(rf"\b{re.escape(word)}\b", line)
        if file and found:
            return {"file": file, "line": number, "column": found.start() + 1, "word": word}
    return {"file": file, "line": first} if file else {}


def _problem(text: str, hint: str, **where: Any) -> dict[str, Any]:
    return {"text": text, "hint": hint, **where}
