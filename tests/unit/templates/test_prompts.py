"""Prompts: includes, inheritance, problems with their places, digests, and shared code."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from agentd.errors import PromptError
from agentd.templates.prompts import InvalidPrompt, PromptLibrary
from tests.unit.templates.prompt_problems import problems_of

CONTEXT: Mapping[str, Any] = {
    "agent": {"name": "analyst"},
    "message": {"id": "m1"},
    "content": {"instruction": "read this"},
    "context": {"history": [{"content": "one"}, {"content": "two"}]},
    "now": datetime(2026, 3, 1, tzinfo=UTC),
}


def rendered(sources: Mapping[str, str], **values: Any) -> str:
    return PromptLibrary(sources).compile("main.md").render({**CONTEXT, **values})


def error_of(sources: Mapping[str, str], **values: Any) -> str:
    with pytest.raises(PromptError) as raised:
        rendered(sources, **values)
    assert raised.value.code == "prompt"
    return str(raised.value)


# Rendering.


def test_lines_that_have_only_tags_are_removed() -> None:
    source = """
# {{ agent.name }}
{% if context.history %}
    {% for turn in context.history %}
- {{ turn.content }}
    {% endfor %}
{% endif %}
{# a remark #}
Task: {{ content.instruction }}
"""
    assert rendered({"main.md": source}) == "# analyst\n- one\n- two\nTask: read this"


def test_an_include_keeps_its_own_lines() -> None:
    sources = {"main.md": "{% include '_house.md' %}\nTask", "_house.md": "Be brief.\n"}

    assert rendered(sources) == "Be brief.\nTask"


def test_an_include_sees_the_variables_around_it() -> None:
    sources = {
        "main.md": "{% set tone = 'dry' %}"
        "{% for x in [1, 2] %}{% include 'parts/x.md' %}{% endfor %}",
        "parts/x.md": "{{ tone }} {{ x }} {{ agent.name }};",
    }
    assert rendered(sources) == "dry 1 analyst;dry 2 analyst;"


def test_inheritance_fills_the_blocks_of_the_base() -> None:
    sources = {
        "main.md": "{% extends '_base.md' %}"
        "{% block task %}{{ super() }}, {{ topic }}{% endblock %}",
        "_base.md": "{% set topic = 'rain' %}"
        "Hello {{ agent.name }}: {% block task %}do{% endblock %}",
    }
    assert rendered(sources) == "Hello analyst: do, rain"


def test_an_imported_macro_sees_the_context() -> None:
    sources = {
        "main.md": "{% from '_m.md' import quote %}{% import '_m.md' as m %}"
        "{{ quote() }}{{ m.quote() }}",
        "_m.md": "{% macro quote() %}<{{ content.instruction }}>{% endmacro %}",
    }
    prompt = PromptLibrary(sources).compile("main.md")

    assert prompt.render(CONTEXT) == "<read this><read this>"
    assert prompt.render({**CONTEXT, "content": {"instruction": "b"}}) == "<b><b>"


def test_the_first_of_several_names_that_exists_is_included() -> None:
    sources = {"main.md": "{% include ['a.md', 'b.md'] %}", "b.md": "b"}

    assert rendered(sources) == "b"
    assert rendered({**sources, "a.md": "a"}) == "a"


def test_an_optional_include_may_be_missing() -> None:
    assert rendered({"main.md": "x{% include 'a.md' ignore missing %}"}) == "x"


def test_inline_text_may_include_from_the_library() -> None:
    library = PromptLibrary({"_house.md": "Be brief.\n"})
    prompt = library.compile_text("{% include '_house.md' %}\nTask", "manifests/a.yaml")

    assert prompt.render(CONTEXT) == "Be brief.\nTask"
    assert prompt.name == "manifests/a.yaml"
    assert prompt.includes == ("_house.md",)


def test_content_is_never_a_template() -> None:
    payload = "{{ 7 * 7 }}{% include '_house.md' %}{# a comment #}"

    assert rendered({"main.md": "{{ content }}", "_house.md": "no"}, content=payload) == payload


# Problems and errors with their places.


def test_a_text_may_use_other_names_than_a_prompt() -> None:
    library = PromptLibrary({})
    text = "{{ city }}{% set content = 1 %}{{ content }} "

    assert library.compile_text(text, "a.yaml", names=["city"]).fill({"city": " Rome"}) == " Rome1 "
    assert library.compile_text(text, "a.yaml", names=None).names == {"city"}
    with pytest.raises(InvalidPrompt, match="did you mean `town`"):
        library.compile_text("{{ twon }}", "a.yaml", names=["town"])


def test_a_missing_prompt_is_reported_with_the_nearest_name() -> None:
    (problem,) = problems_of({"analyst.md": ""}, "analist.md")

    assert problem.place == "prompts/analist.md"
    assert problem.hint == "did you mean `analyst.md`?"


def test_all_problems_of_all_files_are_reported_in_order() -> None:
    sources = {
        "main.md": "{{ a1 }}\n{% include 'x.md' %}{% include 'no.md' %}\n{{ agent | nope }}",
        "x.md": "{{ b1 }}\n{% if %}",
        "y.md": "{{ unrelated }}",
    }
    assert [problem.place for problem in problems_of(sources)] == [
        "prompts/main.md:1:4",
        "prompts/main.md:2:33",
        "prompts/main.md:3:12",
        "prompts/x.md:2",
    ]


def test_a_problem_in_inline_text_has_its_place_in_the_file() -> None:
    text = "You are {{ agent.name }}.\nDo {{ contnt }}.\n{{ content.x }}"
    with pytest.raises(InvalidPrompt) as raised:
        PromptLibrary({}).compile_text(text, "manifests/a.yaml", line=7, column=3)
    (problem,) = raised.value.problems

    assert problem.place == "manifests/a.yaml:8:9"
    assert problem.source == "  Do {{ contnt }}."
    assert problem.source[problem.column - 1 :].startswith("contnt")

    prompt = PromptLibrary({}).compile_text(
        text.replace("contnt", "content"), "manifests/a.yaml", line=7, column=3
    )
    with pytest.raises(PromptError, match=r"^manifests/a\.yaml:9: 'content' has no 'x'$"):
        prompt.render(CONTEXT)


def test_a_rendering_error_names_the_line() -> None:
    source = "You are {{ agent.name }}.\n\n{{ content.instruction }}\n"
    error = error_of({"main.md": source}, content={"instuction": "x"})

    assert error == "prompts/main.md:3: 'content' has no 'instruction' (did you mean 'instuction'?)"
    assert error_of({"main.md": source}, content="just text") == (
        "prompts/main.md:3: 'content' is text and has no 'instruction'"
    )


def test_a_rendering_error_in_an_include_names_the_include() -> None:
    sources = {
        "main.md": "{% from 'm.md' import m %}\n{{ m() }}",
        "m.md": "{% macro m() %}\n\n{% include 'deep.md' %}{% endmacro %}",
        "deep.md": "a\n{{ content.x }}",
    }
    assert error_of(sources) == "prompts/deep.md:2: 'content' has no 'x'"


def test_an_error_quotes_only_a_little_of_a_message() -> None:
    error = error_of({"main.md": "{{ content.x[content.y] }}"}, content={"x": {}, "y": "z" * 9999})

    assert len(error) < 400


# Digests and shared code.


def test_the_digest_covers_the_prompt_and_its_includes() -> None:
    sources = {"main.md": "{% include 'a.md' %}", "a.md": "a", "other.md": "o"}
    digest = PromptLibrary(sources).compile("main.md").digest

    assert PromptLibrary({**sources, "other.md": "p"}).compile("main.md").digest == digest
    assert PromptLibrary({**sources, "a.md": "b"}).compile("main.md").digest != digest
    assert (
        PromptLibrary({**sources, "main.md": "{% include 'a.md' %} "}).compile("main.md").digest
        != digest
    )


def test_includes_are_all_templates_that_are_needed() -> None:
    sources = {
        "main.md": "{% extends 'b.md' %}",
        "b.md": "{% if agent %}{% include 'c/d.md' %}{% endif %}",
        "c/d.md": "{% import 'a.md' as a %}",
        "a.md": "",
        "unused.md": "",
    }
    assert PromptLibrary(sources).compile("main.md").includes == ("a.md", "b.md", "c/d.md")


def test_equal_prompts_share_their_code() -> None:
    library = PromptLibrary({"main.md": "{{ agent.name }}"})
    first, second = library.compile("main.md"), library.compile("main.md")
    inline, other = (library.compile_text("{{ content }}", f"{n}.yaml") for n in "ab")

    assert first == second
    assert first._template is second._template  # pyright: ignore[reportPrivateUsage]
    assert inline._template is other._template  # pyright: ignore[reportPrivateUsage]
    assert (inline.name, other.name) == ("a.yaml", "b.yaml")


def test_a_new_library_compiles_only_what_changed() -> None:
    old = PromptLibrary({"main.md": "{% include 'a.md' %}", "a.md": "a", "b.md": "b"})
    before = {name: old.compile(name) for name in old.sources}
    new = PromptLibrary({**old.sources, "a.md": "changed"}, previous=old)
    after = {name: new.compile(name) for name in new.sources}

    assert after["b.md"]._template is before["b.md"]._template  # pyright: ignore[reportPrivateUsage]
    assert before["main.md"].render(CONTEXT) == "a"
    assert after["main.md"].render(CONTEXT) == "changed"


def test_a_library_keeps_its_own_copy_of_the_texts() -> None:
    sources = {"main.md": "{% include 'a.md' %}", "a.md": "old"}
    library = PromptLibrary(sources)
    sources["a.md"] = "new"

    assert library.compile("main.md").render(CONTEXT) == "old"


def test_a_text_without_tags_is_rendered_without_a_context() -> None:
    library = PromptLibrary({"main.md": "\nBe brief. {# a remark #}\n\n"})
    prompt = library.compile("main.md")

    assert prompt.fill({}) == "\nBe brief. \n"
    assert prompt.render({}) == "Be brief."
    assert prompt.render(Untouchable()) == "Be brief."


def test_an_include_is_rendered_even_if_its_text_is_constant() -> None:
    sources = {"main.md": "{% include 'a.md' %}", "a.md": "a"}
    prompt = PromptLibrary(sources).compile("main.md")

    assert prompt.render(CONTEXT) == "a"
    with pytest.raises(AssertionError, match="the context was read"):
        prompt.render(Untouchable())


class Untouchable(Mapping[str, Any]):
    """A context that fails when it is used."""

    def __getitem__(self, name: str) -> Any:
        raise AssertionError(name)

    def __iter__(self) -> Any:
        raise AssertionError("the context was read")

    def __len__(self) -> int:
        raise AssertionError("the context was read")


def test_an_output_has_a_maximum_length() -> None:
    library = PromptLibrary({"main.md": "{{ 'x' * 999999 }}{{ content }}"})
    prompt = library.compile("main.md")

    assert len(prompt.render({**CONTEXT, "content": "y"})) == 1_000_000
    with pytest.raises(PromptError, match="makes 1,000,001 characters; the limit is 1,000,000"):
        prompt.render({**CONTEXT, "content": "yy"})


def test_a_prompt_reads_what_a_template_sets_in_some_cases_only() -> None:
    sources = {"part.md": "{{ content }}", "set.md": "{% set content = 'x' %}{{ context.hops }}"}
    library = PromptLibrary(sources)
    text = "{% if agent %}{% set content = 'x' %}{% endif %}{% include 'part.md' %}"
    prompt = library.compile_text(text, "a.yaml")
    assert prompt.reads == {"agent", "content"}
    assert prompt.render({"agent": "", "content": "given"}) == "given"
    assert library.compile("set.md").reads >= {"context"}
    assert library.compile_text("Hi.", "a.yaml").reads == frozenset()
