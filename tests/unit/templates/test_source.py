"""One template text: its problems with their places, and the names that it needs."""

from __future__ import annotations

import pytest

from agentd.templates.place import PromptProblem
from agentd.templates.sandbox import BoundedEnvironment
from agentd.templates.source import (
    MAX_SOURCE,
    PromptSource,
    Use,
    compile_source,
)
from tests.unit.templates.prompt_problems import problem_of, problems_of


def source_of(text: str) -> PromptSource:
    return compile_source(BoundedEnvironment(), "t.md", text)


def test_a_syntax_error_has_its_line() -> None:
    problem = problem_of("ok\n{% inclde 'x' %}\n")

    assert (problem.line, problem.column) == (2, 4)
    assert problem.text == "there is no tag `inclde`"
    assert problem.hint == "did you mean `include`?"
    assert problem_of("a\n{% if agent %}\nb").line == 2
    assert problem_of("a\n\n{{ agent").line == 3
    assert problem_of("{{ agent. }}").text == "a name must follow"
    assert problem_of("a\n{# b").line == 2


def test_all_unknown_filters_and_tests_are_reported() -> None:
    filter_, test = problems_of({"main.md": "{{ agent | uper }}\n{{ agent is maping }}"})

    assert (filter_.line, filter_.column, filter_.hint) == (1, 12, "did you mean `upper`?")
    assert (test.line, test.column, test.hint) == (2, 13, "did you mean `mapping`?")


@pytest.mark.parametrize("tag", ["include", "extends", "import"])
def test_a_message_cannot_choose_an_include(tag: str) -> None:
    alias = " as m" * (tag == "import")
    problem = problem_of(f"{{% {tag} content.file{alias} %}}")

    assert problem.line == 1
    assert problem.text == f"{tag} needs a fixed name in quotes"


def test_a_source_names_the_templates_that_it_needs() -> None:
    source = source_of(
        "{% extends 'a' %}\n{% include ['b', 'c'] ignore missing %}{% from 'd' import x as y, z %}"
    )

    assert source.uses == (
        Use(("a",), 1),
        Use(("b", "c"), 2, optional=True),
        Use(("d",), 2, wanted=("x", "z")),
    )
    assert source.needs == ("a", "b", "c", "d")
    assert source.inherits
    assert not source_of("{% include 'a' %}").inherits


def test_a_source_names_what_it_reads_and_sets() -> None:
    source = source_of(
        "{% set x = 1 %}\n{{ agent.name }} {{ x.y }} {{ context['history'] }}\n{{ agent.name }}"
        "{% macro m(p) %}{% endmacro %}{% import 'i' as j %}{% from 'f' import g as h %}"
    )

    assert source.looked_up == {"agent": 2, "context": 2}
    assert source.fields == {"agent.name": 2, "context.history": 2}
    assert source.defined == {"x", "m", "p", "j", "h"}


@pytest.mark.parametrize(
    ("text", "constant"),
    [
        ("", ""),
        ("Be brief.\n", "Be brief.\n"),
        ("{# a remark #}a{% raw %}{{ b }}{% endraw %}", "a{{ b }}"),
        ("a{{ 1 }}", None),
        ("{% include 'a' %}", None),
        ("{% set x = 1 %}a", None),
        ("{% block a %}b{% endblock %}", None),
    ],
)
def test_only_a_text_without_tags_is_constant(text: str, constant: str | None) -> None:
    assert source_of(text).constant == constant


def test_a_source_with_problems_has_no_code() -> None:
    assert source_of("a").code
    assert source_of("{{ a | nope }}").code is None
    assert source_of("x" * MAX_SOURCE).code
    (problem,) = source_of("x" * (MAX_SOURCE + 1)).problems
    assert problem == PromptProblem("has 256,001 characters; the limit is 256,000")


def test_autoescape_is_refused_with_a_hint() -> None:
    (problem,) = source_of("{% autoescape true %}{% endautoescape %}").problems

    assert problem.text == "autoescape is not supported: prompts are plain text"
    assert "'escape'" in problem.hint


def test_the_digest_covers_name_and_text() -> None:
    assert source_of("a").digest == source_of("a").digest
    assert source_of("a").digest != source_of("b").digest
    assert compile_source(BoundedEnvironment(), "u.md", "a").digest != source_of("a").digest
