"""A problem as a user sees it: the place, the text, the hint, and the line with a caret."""

from __future__ import annotations

import pytest

from agentd.problems import Problem, did_you_mean, errors, nearest

MISSPELT = Problem(
    file="a.yaml",
    text="unknown key",
    line=3,
    column=5,
    width=4,
    source="    modl: gpt",
    hint="did you mean `model`?",
)


@pytest.mark.parametrize(
    ("line", "column", "place"), [(0, 0, "a.yaml"), (3, 0, "a.yaml:3"), (3, 5, "a.yaml:3:5")]
)
def test_the_place_is_as_exact_as_it_is_known(line: int, column: int, place: str) -> None:
    assert Problem(file="a.yaml", text="x", line=line, column=column).place == place


def test_the_text_shows_the_line_with_a_caret_under_the_problem() -> None:
    assert MISSPELT.render() == (
        "a.yaml:3:5: error: unknown key; did you mean `model`?\n"
        "     3 |     modl: gpt\n"
        "       |     ^^^^"
    )


def test_a_warning_without_a_place_is_one_line() -> None:
    problem = Problem(file="a.yaml", text="unused", severity="warning")

    assert problem.render() == "a.yaml: warning: unused"


def test_a_line_without_a_column_has_no_caret() -> None:
    problem = Problem(file="a.yaml", text="x", line=3, source="a: b\n")

    assert problem.render() == "a.yaml:3: error: x\n     3 | a: b"


def test_a_tab_counts_as_one_character() -> None:
    problem = Problem(file="a.yaml", text="x", line=1, column=2, width=1, source="\tb")

    assert problem.render().splitlines()[1:] == ["     1 |  b", "       |  ^"]


@pytest.mark.parametrize("column", [1, 60, 250, 300])
def test_a_long_line_is_cut_around_the_problem(column: int) -> None:
    source = "x" * (column - 1) + "!" + "y" * (300 - column)
    problem = Problem(file="a.yaml", text="x", line=1, column=column, source=source)
    _, shown, caret = problem.render().splitlines()

    assert len(shown) <= len("     1 | ") + 100
    assert shown[caret.index("^")] == "!"


def test_the_underline_ends_with_the_line() -> None:
    problem = Problem(file="a.yaml", text="x", line=1, column=3, width=50, source="a: b")

    assert problem.render().splitlines()[2] == "       |   ^^"


def test_the_json_has_the_same_facts() -> None:
    assert MISSPELT.as_json() == {
        "file": "a.yaml",
        "line": 3,
        "column": 5,
        "severity": "error",
        "problem": "unknown key",
        "hint": "did you mean `model`?",
    }


def test_a_warning_keeps_no_file_from_loading() -> None:
    warning = Problem(file="a.yaml", text="x", severity="warning")

    assert errors([warning, MISSPELT]) == [MISSPELT]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("analyts", "did you mean `analyst`?"),
        ("ANALYST", "did you mean `analyst`?"),
        ("zzz", ""),
        ("x" * 1_000_000, ""),
    ],
)
def test_the_most_similar_name_is_a_hint(name: str, hint: str) -> None:
    assert did_you_mean(name, ["coder", "analyst"]) == hint
    assert did_you_mean(name, []) == ""


def test_the_nearest_name_is_as_similar_as_the_caller_asks() -> None:
    assert nearest("brief.redy", ["brief.ready", "brief.late"]) == "brief.ready"
    assert nearest("brief.redy", ["brief.late"], cutoff=0.95) == ""
