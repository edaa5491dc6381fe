"""What a scalar means by YAML 1.2, and what nodes know of their place and their variables."""

from __future__ import annotations

import pytest

from agentd.manifest.yaml.nodes import (
    Map,
    Scalar,
    Seq,
    Span,
    YamlSource,
    environment_values,
    is_text,
    plain,
)

SOURCE = YamlSource("f.yaml", ("first", "second"))
HERE = Span(SOURCE, 2, 3, 4)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("+7", 7),
        ("-12", -12),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-2.5E-3", -0.0025),
        # Not text in YAML 1.1.
        ("yes", "yes"),
        ("on", "on"),
        ("012", "012"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("9" * 30, int("9" * 30)),
        ("9" * 40, "9" * 40),
    ],
)
def test_an_unquoted_scalar_means_what_yaml_1_2_says(text: str, meaning: object) -> None:
    value = Scalar(HERE, text).value

    assert value == meaning
    assert type(value) is type(meaning)
    assert is_text(text) == isinstance(meaning, str)


@pytest.mark.parametrize("style", ["quoted", "literal", "folded"])
def test_any_other_scalar_is_text(style: str) -> None:
    assert Scalar(HERE, "5", style=style).value == "5"  # pyright: ignore[reportArgumentType]


def test_a_problem_has_the_place_and_the_line_of_its_span() -> None:
    problem = HERE.problem("no", hint="yes", severity="warning")

    assert (problem.file, problem.line, problem.column, problem.width) == ("f.yaml", 2, 3, 4)
    assert (problem.text, problem.hint, problem.severity) == ("no", "yes", "warning")
    assert problem.source == "second"


def test_a_line_that_does_not_exist_is_empty() -> None:
    assert [SOURCE.line(number) for number in (0, 1, 2, 3)] == ["", "first", "second", ""]


def scalar(text: str, *from_environment: str) -> Scalar:
    return Scalar(HERE, text, from_environment=from_environment)


TREE = Map(
    HERE,
    {
        "a": (scalar("a"), scalar("1", "one")),
        "b": (scalar("b"), Seq(HERE, (scalar("x", "two", "three"), scalar("true")))),
    },
)


def test_nodes_become_plain_values() -> None:
    assert plain(TREE) == {"a": 1, "b": ["x", True]}


def test_the_values_of_variables_are_found_at_any_depth() -> None:
    assert list(environment_values(TREE)) == ["one", "two", "three"]


def test_a_mapping_gives_the_value_of_a_key() -> None:
    assert TREE.get("a") == scalar("1", "one")
    assert TREE.get("z") is None
