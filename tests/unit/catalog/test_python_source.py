"""Whether a Python file compiles, without running it."""

from __future__ import annotations

import pytest

from agentd.catalog.python_source import syntax_problem


def test_a_file_that_compiles_has_no_problem_and_is_not_run() -> None:
    assert syntax_problem(b"raise SystemExit\n", "tools/a.py") is None


def test_a_syntax_error_has_its_place_and_line() -> None:
    problem = syntax_problem(b"x = 1\ndef f(:\n    pass\n", "tools/a.py")

    assert problem
    assert (problem.place, problem.severity) == ("tools/a.py:2:7", "error")
    assert problem.text == "does not compile: invalid syntax"
    assert problem.source.rstrip() == "def f(:"


@pytest.mark.parametrize("source", [b"", b" \n\t\n"])
def test_an_empty_file_is_a_problem(source: bytes) -> None:
    problem = syntax_problem(source, "tools/a.py")

    assert problem
    assert (problem.place, problem.text) == ("tools/a.py", "is empty")


@pytest.mark.parametrize(
    "source", [b"x = '\xff'\n", b"x = 1\0\n", b"x = " + b"(" * 5_000 + b"1" + b")" * 5_000]
)
def test_a_hostile_file_is_a_problem_and_not_an_exception(source: bytes) -> None:
    problem = syntax_problem(source, "tools/a.py")

    assert problem
    assert problem.text.startswith("does not compile: ")


def test_a_warning_of_the_compiler_is_no_problem() -> None:
    assert syntax_problem(b"x = '\\d'\n", "tools/a.py") is None
