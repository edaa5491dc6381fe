"""Variables are filled in as in Compose, at their place, and only where they should be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.manifest.yaml.interpolate import interpolate, substitute
from agentd.manifest.yaml.nodes import Map, plain
from agentd.manifest.yaml.reader import read

ENVIRON = {"SET": "value", "EMPTY": "", "NUMBER": "7"}


@pytest.mark.parametrize(
    ("text", "becomes"),
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
def test_variables_become_values(text: str, becomes: str) -> None:
    assert substitute(text, ENVIRON) == becomes


@pytest.mark.parametrize(
    ("text", "mistake", "mend"),
    [
        ("${UNSET}", "UNSET is not set", "set it, or give a default: ${UNSET:-…}"),
        ("${UNSET:?say how many}", "UNSET is not set: say how many", ""),
        ("${EMPTY:?}", "EMPTY is not set", ""),
        ("${}", "this `${` is not a variable", "write ${NAME}"),
        ("${1}", "this `${` is not a variable", "write ${NAME}"),
        ("${SET", "this `${` is not a variable", "write ${NAME}"),
        ("${SET:x}", "this `${` is not a variable", "write ${NAME}"),
        ("${UNSET:-${SET}}", "this `${` is not a variable", "write ${NAME}"),
    ],
)
def test_a_mistake_names_the_variable_and_the_mend(text: str, mistake: str, mend: str) -> None:
    root = read(f"a: '{text}'", "f").root
    assert isinstance(root, Map)

    _, (problem,) = interpolate(root, ENVIRON)

    assert problem.text == mistake
    assert problem.hint.startswith(mend)


def filled(text: str, environ: dict[str, str], *, skip: tuple[str, ...] = ()) -> object:
    root = read(text, "f").root
    assert isinstance(root, Map)
    node, problems = interpolate(root, environ, skip=skip)
    assert not problems
    return plain(node)


def test_an_unquoted_value_is_read_again_and_a_quoted_one_is_text() -> None:
    assert filled("a: ${N}\nb: '${N}'\nc: [1, \"${N}\"]", {"N": "8"}) == {
        "a": 8,
        "b": "8",
        "c": [1, "8"],
    }


def test_what_a_variable_holds_is_never_structure() -> None:
    assert filled("a: ${X}", {"X": "b: [c, {d: 1}]"}) == {"a": "b: [c, {d: 1}]"}


def test_keys_and_skipped_fields_stay_as_they_are() -> None:
    text = "instructions: pay ${X}\n${X}: 1\nlimits: {deep: '${X}'}"

    assert filled(text, {"X": "y"}, skip=("instructions",)) == {
        "instructions": "pay ${X}",
        "${X}": 1,
        "limits": {"deep": "y"},
    }


def test_every_mistake_has_its_place() -> None:
    root = read("a: ${ONE}\nb:\n  - x\n  - ${TWO:?why}\n", "f").root
    assert isinstance(root, Map)

    _, problems = interpolate(root, {})

    assert [(p.line, p.column, p.width) for p in problems] == [(1, 4, 6), (4, 5, 11)]


@given(st.text())
def test_doubled_dollars_are_every_text_again(text: str) -> None:
    assert substitute(text.replace("$", "$$"), {}) == text


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="$")))
def test_a_value_is_put_in_as_it_is(value: str, around: str) -> None:
    assert substitute(f"{around}${{X}}{around}", {"X": value}) == around + value + around
