"""A template and its includes: missing ones, cycles and unknown names."""

from __future__ import annotations

import pytest

from agentd.templates.links import context_names
from agentd.templates.prompts import InvalidPrompt, PromptLibrary
from agentd.templates.sandbox import BoundedEnvironment
from agentd.templates.source import compile_source
from tests.unit.templates.prompt_problems import problem_of, problems_of


def test_an_unknown_name_is_reported_with_place_and_nearest_name() -> None:
    problem = problem_of("Line one about contnt.\nThe contnt: {{ contnt.text }}\n")

    assert problem.place == "prompts/main.md:2:16"
    assert problem.text == "unknown name `contnt`"
    assert problem.hint == "did you mean `content`?"
    assert problem.source == "The contnt: {{ contnt.text }}"
    assert problem.width == 6


def test_without_a_similar_name_the_hint_lists_all_names() -> None:
    assert (
        problem_of("{{ zzz }}").hint == "the known names are agent, content, context, message, now"
    )


def test_a_missing_include_is_reported_where_it_is_included() -> None:
    sources = {"main.md": "{% include 'parts/a.md' %}", "parts/a.md": "\n{% include '_huose.md' %}"}
    (problem,) = problems_of({**sources, "_house.md": ""})

    assert problem.place == "prompts/parts/a.md:2:13"
    assert problem.text == "there is no prompt `_huose.md`"
    assert problem.hint == "did you mean `_house.md`?"


def test_a_missing_macro_is_reported() -> None:
    problem = problem_of("{% from 'm.md' import qoute %}", m="{% macro quote() %}{% endmacro %}")

    assert problem.text == "`m.md` has no `qoute`"
    assert problem.hint == "did you mean `quote`?"


def test_templates_that_include_each_other_are_refused() -> None:
    sources = {"main.md": "{% include 'a.md' %}", "a.md": "\n{% include 'b.md' %}"}
    (problem,) = problems_of({**sources, "b.md": "{% include 'a.md' %}"})

    assert problem.text == "includes itself: a.md -> b.md -> a.md"
    assert problem.place == "prompts/a.md:2:13"
    assert problem_of("{% include 'main.md' %}").text == "includes itself: main.md -> main.md"


def test_nothing_outside_the_library_can_be_included() -> None:
    assert problem_of("{% include '../secret.md' %}").text == "there is no prompt `../secret.md`"
    assert problem_of("{% include '/etc/passwd' %}").text == "there is no prompt `/etc/passwd`"


def test_only_the_listed_fields_of_a_name_are_known() -> None:
    library = PromptLibrary({})
    names = ["mcp", "mcp.readme", "other"]

    assert library.compile_text("{{ mcp.readme }}{{ other.x }}", "a.yaml", names=names)
    with pytest.raises(InvalidPrompt) as raised:
        library.compile_text("{{ mcp.zzz }}", "a.yaml", names=names)
    (problem,) = raised.value.problems
    assert (problem.text, problem.hint) == (
        "unknown field `mcp.zzz`",
        "the known fields are mcp.readme",
    )


def test_a_name_that_an_including_template_sets_is_not_from_the_context() -> None:
    texts = {"main": "{% set x = 1 %}{{ x }}{{ y }}", "part": "{{ x }}{{ z }}"}
    members = {
        name: compile_source(BoundedEnvironment(), name, text) for name, text in texts.items()
    }

    assert context_names(members["main"], members["main"], members) == {"y": 1}
    assert context_names(members["part"], members["main"], members) == {"z": 1}


def test_a_cycle_is_reported_once() -> None:
    sources = {"main.md": "{% include 'a.md' %}", "a.md": "{% include 'main.md' %}"}

    assert len(problems_of(sources)) == 1
