"""The code of a template: each step pays, and compiling takes a bounded time."""

from __future__ import annotations

from time import thread_time

import pytest
from jinja2.exceptions import TemplateSyntaxError

from agentd.templates.compiler import MAX_TOKENS, generate
from agentd.templates.prompts import InvalidPrompt, PromptLibrary
from agentd.templates.sandbox import BoundedEnvironment

SECONDS = 2.0  # far above the time that a refusal needs

ENVIRONMENT = BoundedEnvironment()


def code_of(template: str) -> str:
    return generate(ENVIRONMENT, ENVIRONMENT.parse(template), "t.md")[0]


def names_of(template: str) -> frozenset[str]:
    return generate(ENVIRONMENT, ENVIRONMENT.parse(template), "t.md")[1]


def test_a_body_pays_for_its_literal_text() -> None:
    assert "context.budget.spend(5)" in code_of("{% if x %}abcde{% endif %}")


@pytest.mark.parametrize("expression", ["[x]", "(x, 1)", "{'a': x}", "x == 1", "x[1:]"])
def test_a_value_that_no_hook_of_jinja_sees_is_paid_for(expression: str) -> None:
    assert code_of("{{ " + expression + " }}").count("context.budget.charge(") == 1


def test_the_targets_of_a_loop_are_not_values() -> None:
    assert "charge(" not in code_of("{% for a, b in x %}{% endfor %}")


def test_a_field_is_looked_up_with_the_path_of_its_owner() -> None:
    assert "'c', 'a.b[0]')" in code_of("{{ a.b[0].c }}")
    assert "'c', '')" in code_of("{{ (a + b).c }}")


def test_the_names_are_those_that_the_template_does_not_set() -> None:
    assert names_of("{% set x = a %}{{ x }}{% for y in b %}{{ y }}{% endfor %}") == {"a", "b"}
    assert names_of("{{ range(3) }}") == frozenset()


def test_a_template_has_a_limit_of_tokens() -> None:
    assert ENVIRONMENT.parse("{{ a }}" * (MAX_TOKENS // 3))  # each has three tokens
    with pytest.raises(TemplateSyntaxError, match="more than 20,000 tokens"):
        ENVIRONMENT.parse("{{ a }}" * (MAX_TOKENS // 3 + 2))


@pytest.mark.parametrize(
    "template",
    [
        "{{ " + "9" * 5000 + " }}",
        "{{ 0x" + "f" * 99999 + " }}",
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ " + "+".join(["1"] * 5000) + " }}",
        "{{ agent" + ".a" * 5000 + " }}",
        "{% if 1 %}" * 500 + "{% endif %}" * 500,
        "{% for i in [1] %}" * 30 + "{% endfor %}" * 30,
        "{{ agent }}" * 9000,
        "x" * 300_000,
        "{{ dict(a=1, a=2) }}",
    ],
)
def test_a_template_that_takes_long_to_compile_is_refused(template: str) -> None:
    began = thread_time()

    with pytest.raises(InvalidPrompt):
        PromptLibrary({}).compile_text(template, "t.md")

    assert thread_time() - began < SECONDS
