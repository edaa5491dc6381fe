"""Variables are filled in as in Docker Compose, and only in the values where they are allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.manifest.yaml.interpolate import interpolate, substitute
from agentd.manifest.yaml.nodes import Map, plain
from agentd.manifest.yaml.reader import read

ENVIRON = {"SET": "value", "EMPTY": "", "NUMBER": "7"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${SET}", "value"),
        ("a ${SET} b ${NUMBER}", "a value b 7"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${UNSET:-x}", "x"),
        ("${UNSET-x}", "x"),
        ("${UNSET:-}", ""),
        ("${UNSET:-http://a:1/b?c}", "http://a:1/b?c"),
        ("${SET:?needed}", "value"),
        ("${EMPTY?needed}", ""),
        ("$$", "$"),
        ("$${SET}", "${SET}"),
        ("$$$${SET}", "$${SET}"),
        ("$SET costs $5", "$SET costs $5"),
    ],
)
def test_a_variable_becomes_its_value_or_its_default(text: str, expected: str) -> None:
    assert substitute(text, ENVIRON) == expected


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("${UNSET}", "UNSET is not set", "set it, or give a default: ${UNSET:-…}"),
        ("${UNSET:?say how many}", "UNSET is not set: say how many", ""),
        ("${EMPTY:?}", "EMPTY is not set", ""),
        ("${}", "this `${` does not begin a variable", "write ${NAME}"),
        ("${1}", "this `${` does not begin a variable", "write ${NAME}"),
        ("${SET", "this `${` does not begin a variable", "write ${NAME}"),
        ("${SET:x}", "this `${` does not begin a variable", "write ${NAME}"),
        ("${UNSET:-${SET}}", "this `${` does not begin a variable", "write ${NAME}"),
    ],
)
def test_a_variable_that_cannot_be_filled_in_is_a_problem(
    text: str, problem: str, hint: str
) -> None:
    root = read(f"a: '{text}'", "f").root
    assert isinstance(root, Map)

    _, [found] = interpolate(root, ENVIRON)

    assert found.text == problem
    assert found.hint.startswith(hint)


def test_values_of_the_environment_are_recorded() -> None:
    used: list[str] = []

    assert substitute("${SET}, ${UNSET:-default}, ${NUMBER}", ENVIRON, used)
    assert used == ["value", "7"]


def filled(text: str, environ: dict[str, str], *, skip: tuple[str, ...] = ()) -> object:
    root = read(text, "f").root
    assert isinstance(root, Map)
    node, problems = interpolate(root, environ, skip=skip)
    assert not problems
    return plain(node)


def test_an_unquoted_value_gets_its_type_afterwards_and_a_quoted_one_is_text() -> None:
    assert filled("a: ${N}\nb: '${N}'\nc: [1, \"${N}\"]", {"N": "8"}) == {
        "a": 8,
        "b": "8",
        "c": [1, "8"],
    }


def test_the_value_of_a_variable_never_becomes_a_list_or_mapping() -> None:
    assert filled("a: ${X}", {"X": "b: [c, {d: 1}]"}) == {"a": "b: [c, {d: 1}]"}


def test_keys_and_skipped_fields_stay_as_they_are() -> None:
    text = "instructions: pay ${X}\n${X}: 1\nlimits: {deep: '${X}'}"

    assert filled(text, {"X": "y"}, skip=("instructions",)) == {
        "instructions": "pay ${X}",
        "${X}": 1,
        "limits": {"deep": "y"},
    }


def test_every_problem_has_the_place_of_its_value() -> None:
    root = read("a: ${ONE}\nb:\n  - x\n  - ${TWO:?why}\n", "f").root
    assert isinstance(root, Map)

    _, problems = interpolate(root, {})

    assert [(p.line, p.column, p.width) for p in problems] == [(1, 4, 6), (4, 5, 11)]


@given(st.text())
def test_a_text_with_doubled_dollars_becomes_the_text(text: str) -> None:
    assert substitute(text.replace("$", "$$"), {}) == text


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="$")))
def test_a_value_is_inserted_unchanged(value: str, around: str) -> None:
    assert substitute(f"{around}${{X}}{around}", {"X": value}) == around + value + around
