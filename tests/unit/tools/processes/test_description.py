"""What a worker reports about a function: its schema, or the problems that it has."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from agentd.tools.processes.description import describe, load
from agentd.tools.processes.modules import Modules, NameTaken

FOLDER = "/no/such/project/tools"
FILES: Mapping[str, bytes] = {
    "tool_good.py": b'def add(a: int, b: int = 1) -> int:\n    """Adds."""\n    return a + b\n',
    "tool_keyed.py": b"def pay(idempotency_key: str) -> str: return idempotency_key\n",
    "tool_bad.py": b"\ndef untyped(a, b): ...\n\nclass Thing: ...\n\nvalue = 3\n",
    "tool_syntax.py": b"x = 1\ndef f(:\n",
    "tool_raises.py": b"\n1 / 0\n",
    "tool_quits.py": b"raise SystemExit(3)\n",
    "tool_imports.py": b"\nimport jsn\n",
    "tool_indirect.py": b"import tool_raises\n",
    "json.py": b"def fine() -> None: ...\n",
}


@pytest.fixture
def modules() -> Iterator[Modules]:
    modules = Modules(FOLDER, FILES)
    sys.meta_path.append(modules)
    yield modules
    sys.meta_path.remove(modules)
    for file in FILES:
        if file.startswith("tool_"):
            sys.modules.pop(file.removesuffix(".py"), None)


def problem(modules: Modules, name: str) -> dict[str, Any]:
    """The one problem of a function."""
    [found] = describe(modules, name)["problems"]
    return found


def test_a_function_is_described_with_its_schema(modules: Modules) -> None:
    assert describe(modules, "tool_good.py:add") == {
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}},
            "required": ["a"],
            "additionalProperties": False,
        },
        "takes_key": False,
    }
    assert describe(modules, "tool_keyed.py:pay")["takes_key"]


def test_a_loaded_function_can_be_called(modules: Modules) -> None:
    assert load(modules, "tool_good.py:add").call(a=2, b=3) == 5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "tool_syntax.py:f",
            {"text": "does not compile: invalid syntax", "line": 2, "column": 7},
        ),
        (
            "tool_raises.py:f",
            {"text": "cannot be imported: ZeroDivisionError: division by zero", "line": 2},
        ),
        ("tool_quits.py:f", {"text": "cannot be imported: SystemExit: 3", "line": 1}),
        (
            "tool_imports.py:f",
            {"text": "there is no module `jsn`", "hint": "did you mean `json`?", "line": 2},
        ),
    ],
)
def test_a_file_that_cannot_be_imported_has_a_problem_with_its_line(
    modules: Modules, name: str, expected: dict[str, Any]
) -> None:
    found = problem(modules, name)

    assert found["file"] == name.partition(":")[0]
    assert {key: found[key] for key in expected} == expected


def test_the_problem_of_an_imported_file_is_in_that_file(modules: Modules) -> None:
    found = problem(modules, "tool_indirect.py:f")

    assert (found["file"], found["line"]) == ("tool_raises.py", 2)


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("tool_good.py:ad", "tool_good.py has no function `ad`", "did you mean `add`?"),
        ("tool_good.py:zzz", "tool_good.py has no function `zzz`", ""),
        ("tool_bad.py:Thing", "`Thing` in tool_bad.py is not a function", ""),
        ("tool_bad.py:value", "`value` in tool_bad.py is not a function", ""),
        ("json.py:fine", "json.py has the same name as another module, `json`", "rename it"),
    ],
)
def test_a_name_that_is_no_function_of_the_file_is_a_problem(
    modules: Modules, name: str, text: str, hint: str
) -> None:
    assert problem(modules, name) == {"text": text, "hint": hint}


def test_each_bad_parameter_is_a_problem_at_its_place(modules: Modules) -> None:
    first, second = describe(modules, "tool_bad.py:untyped")["problems"]

    assert first == {
        "text": "`untyped` cannot be a tool: `a` has no type",
        "hint": "write `a: str`, or its true type",
        "file": "tool_bad.py",
        "line": 2,
        "column": 13,
        "word": "a",
    }
    assert (second["word"], second["column"]) == ("b", 16)


def test_a_missing_package_asks_for_its_installation(modules: Modules) -> None:
    files = {"tool_needs.py": b"import no_such_package_zzz\n"}
    needing = Modules(FOLDER, files)
    sys.meta_path.append(needing)
    try:
        found = problem(needing, "tool_needs.py:f")
    finally:
        sys.meta_path.remove(needing)

    assert found["hint"] == "install it where agentd is installed"


def test_load_raises_what_the_file_raises(modules: Modules) -> None:
    with pytest.raises(ZeroDivisionError):
        load(modules, "tool_raises.py:f")
    with pytest.raises(NameTaken):
        load(modules, "json.py:fine")
