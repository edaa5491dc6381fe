"""The sandbox: allowed and refused operations, with bounded time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from time import thread_time
from typing import Any

import pytest

from agentd.errors import PromptError
from agentd.templates.prompts import InvalidPrompt, PromptLibrary

LIBRARY = PromptLibrary({})
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
CONTEXT: Mapping[str, Any] = {
    "agent": {"name": "analyst"},
    "message": {"id": "m1"},
    "content": {"text": "A & B", "items": [3, 1, 2], "people": [{"age": 3}, {"age": 5}]},
    "context": {"history": []},
    "now": NOW,
}
SECONDS = 2.0  # well above the limit of a rendering, well below the time without a limit


def render(template: str, **values: Any) -> str:
    return LIBRARY.compile_text(template, "t.md").render({**CONTEXT, **values})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ content.text }}", "A & B"),
        ("{{ content.items | sort | join(', ') }}", "1, 2, 3"),
        ("{{ content.items | length }}", "3"),
        ("{{ content['items'][0] }}", "3"),
        ("{{ content.items[1:] }}", "[1, 2]"),
        ("{{ content.keys() | list | first }}", "text"),
        ("{{ content.people | map(attribute='age') | max }}", "5"),
        ("{{ content.people | selectattr('age', 'gt', 3) | list }}", '[{"age": 5}]'),
        ("{{ content.people | sum('age') }}", "8"),
        ("{% for age, some in content.people | groupby('age') %}{{ age }};{% endfor %}", "3;5;"),
        ("{{ content.text | e }}", "A &amp; B"),
        ("{{ content.text | replace('A', 'C') | upper }}", "C & B"),
        ("{{ content.text.split(' & ') }}", '["A", "B"]'),
        ("{{ ', '.join(content.text.split(' & ')) }}", "A, B"),
        ("{{ content.other | default('none') }}", "none"),
        ("{{ 'yes' if content is mapping and content.text is string }}", "yes"),
        ("{{ '%.2f of %s' | format(2, 'x') }} {{ '%d%%' % 50 }}", "2.00 of x 50%"),
        ("{{ 7 // 2 }} {{ 2 ** 10 }} {{ 'a' ~ 1 ~ none }}", "3 1024 a1null"),
        ("{{ now.year }} {{ now.strftime('%d.%m.') }} {{ now.date() }}", "2026 01.03. 2026-03-01"),
        (
            "{% set n = namespace(sum=0) %}{% for i in content.items %}{% set n.sum = n.sum + i %}"
            "{% endfor %}{{ n.sum }}",
            "6",
        ),
        ("{% for i in [1, 2] %}{{ loop.cycle('a', 'b') }}{{ loop.index }}{% endfor %}", "a1b2"),
        ("{% set j = joiner('; ') %}{% for i in [1, 2] %}{{ j() }}{{ i }}{% endfor %}", "1; 2"),
        (
            "{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m(1) %}2{% endcall %}",
            "<12>",
        ),
        ("{% block b %}x{% endblock %}{{ self.b() }}", "xx"),
        ("{% filter upper %}x{{ agent.name }}{% endfilter %}", "XANALYST"),
        ("{% with a = dict(b=1) %}{{ a.b }}{% endwith %}", "1"),
        (
            "{% for i in [[1, [2]], [3]] recursive %}"
            "{{ loop(i) if i is sequence else i }}{% endfor %}",
            "123",
        ),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    ],
)
def test_prompts_have_the_features_of_jinja(template: str, text: str) -> None:
    assert render(template) == text


def test_a_field_takes_precedence_over_a_method() -> None:
    assert render("{{ content.items }} {{ content.get }}", content={"items": 1, "get": 2}) == "1 2"


DOUBLING = "{% set x = 'aaaaaaaaaa' %}" + "{% set x = x OP x %}" * 60 + "{{ x }}"
NESTING = "{% set x = [1] %}{% set y = [1] %}" + "{% set x = [x, x] %}{% set y = [y, y] %}" * 60
LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}BODY{% endfor %}{% endfor %}"
BOMBS = [
    "{{ 'x' * 10 ** 9 }}",
    "{{ 10 ** 9 * [0] }}",
    "{{ 10 ** (10 ** 8) }}",
    "{{ (7 ** 2000) ** 2000 }}",
    "{{ 'x'.center(10 ** 9) }}",
    "{{ 'x'.ljust(10 ** 9) ~ 'x'.rjust(10 ** 9) ~ 'x'.zfill(10 ** 9) }}",
    "{{ 'x' | center(10 ** 9) }}",
    "{{ 'a\\nb' | indent(10 ** 9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%.1000000000f' | format(1.0) }}",
    "{{ '%*d' % (10 ** 9, 1) }}",
    "{{ ('%(a)s' * 9999) % {'a': 'x' * 99999} }}",
    "{{ ('%(' * 400000) % 1 }}",
    "{{ ('x' * 9999).join('y' * 9999) }}",
    "{{ range(99999) | join('x' * 9999) }}",
    "{{ ('x' * 9999).replace('x', 'y' * 9999) }}",
    "{{ ('x' * 9999) | replace('', 'y' * 9999) }}",
    "{{ [1] | batch(10 ** 9, 0) }}",
    "{{ [1] | slice(10 ** 9) }}",
    "{{ 1.5 | round(10 ** 9, 'ceil') }}",
    "{{ [1] | tojson(indent=10 ** 9) }}",
    "{{ ([[1]] * 50000) | sum(start=[]) }}",
    "{{ ('f' * 900000) | int(base=16) }}",
    "{{ ('a' * 400000).strip('b' * 400000) }}",
    "{{ ('a' * 400000) | trim('b' * 400000) }}",
    "{{ ('a' * 400000).rsplit('ab' ~ 'a' * 200000) }}",
    "{{ now.strftime('%c' * 99999) }}",
    "{{ (['x'] * 9999) | sort(attribute='0' ~ '.0' * 99999) }}",
    "{{ (['x'] * 9999) | map(attribute='0' ~ '.0' * 99999) | list }}",
    "{{ range(50000) | select('in', range(50000) | list) | list }}",
    "{{ range(0, 2305843009213693951 * 50000, 2305843009213693951) | unique | list }}",
    "{{ dict(range(0, 2305843009213693951 * 50000, 2305843009213693951) | batch(2)) }}",
    DOUBLING.replace("OP", "~"),
    DOUBLING.replace("OP", "+"),
    NESTING + "{{ x }}",
    NESTING + "{{ x == y }}",
    "{% set n = namespace(a='x') %}{% for i in range(99) %}{% set n.a = [n.a, n.a] %}{% endfor %}",
    "{% set n = namespace(a=1) %}{% for i in range(60000) %}{% set n.a = [n.a] %}{% endfor %}",
    LOOPS,
    LOOPS.replace("BODY", "x" * 999),
    LOOPS.replace("BODY", "{{ 'x' * 9999 }}"),
    "{% set x %}" + LOOPS.replace("BODY", "{{ 'x' * 9999 }}") + "{% endset %}",
    "{% filter upper %}" + LOOPS.replace("BODY", "x" * 999) + "{% endfilter %}",
    "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
    "{% for i in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "{% for i in [1, 2] %}" * 19 + "x" + "{% endfor %}" * 19,
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(99) }}",
    "{% macro m(x) %}{{ m(x[1:]) }}{% endmacro %}{{ m('x' * 999999) }}",
    "{% block b %}{{ self.b() }}{{ self.b() }}{% endblock %}",
    "{% macro m() %}{{ caller() * 2 }}{% endmacro %}"
    + "{% call m() %}" * 40
    + "x"
    + "{% endcall %}" * 40,
]


@pytest.mark.parametrize("template", BOMBS)
def test_a_template_without_end_is_refused_in_time(template: str) -> None:
    began = thread_time()

    with pytest.raises((PromptError, InvalidPrompt)):
        render(template)

    assert thread_time() - began < SECONDS


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ [''] | map(attribute='__class__') | list }}",
        "{{ agent.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ range.__self__ }}",
        "{{ dict.mro() }}",
        "{{ self._TemplateReference__context }}",
        "{{ self.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ ''.format_map(agent) }}",
        "{{ [''] | map(attribute='format') | list }}",
        "{{ '' | attr('__class__') }}",
        "{{ content.update(a=1) }}",
        "{{ content.people.append(1) }}",
        "{{ content.clear() }}",
        "{{ now.__reduce__() }}",
        "{{ now.replace(year=1) }}",
        "{{ environment }}",
        "{{ config }}",
        "{{ lipsum() }}",
        "{{ agent.name() }}",
        "{{ [] | random }}",
        "{{ '' | safe }}",
        "{% autoescape true %}{% endautoescape %}",
    ],
)
def test_only_data_can_be_reached(template: str) -> None:
    with pytest.raises((PromptError, InvalidPrompt)):
        render(template)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ content.txt }}", "'content' has no 'txt' (did you mean 'text'?)"),
        (
            "{{ content.text.uper() }}",
            "'content.text' is text and has no 'uper' (did you mean 'upper'?)",
        ),
        ("{{ content.people[7].age }}", "'content.people' is a list and has no 7"),
        ("{{ content.a.b }}", "'content' has no 'a'"),
        ("{{ content[1:] }}", "'content' cannot be sliced"),
        ("{{ content.people.index }}", "cannot write a function as text; call it with ()"),
        ("{{ agent.name() }}", "cannot call text"),
        ("{{ range(3) }}", "cannot write a range as text"),
        ("{{ namespace(a=1) }}", "cannot write a namespace as text"),
        ("{{ content.text + 1 }}", 'can only concatenate str (not "int") to str'),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 'a b'.split(sep=' ') }}", "'split' takes its arguments in order, without names"),
        ("{{ '\\ud800' }}", "makes half a surrogate pair, which is not valid text"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself too deeply"),
        ("{{ 'x' * 2000000 }}", "needs a value of 2,000,000 characters; the limit is 1,000,000"),
        (
            "{{ 'x' * 999999 }}{{ 'x' * 999999 }}",
            "makes 1,999,998 characters; the limit is 1,000,000",
        ),
    ],
)
def test_an_error_says_what_the_author_can_fix(template: str, problem: str) -> None:
    with pytest.raises(PromptError) as raised:
        render(template)

    assert str(raised.value).partition(": ")[2] == problem


def test_a_huge_content_can_be_shortened_but_not_inserted() -> None:
    huge = ["x" * 8_000_000]

    assert render("{{ content[0] | truncate(10) }}", content=huge) == "xxxxxxx..."
    assert render("{{ content[0][:3] }}", content=huge) == "xxx"
    assert render("{{ content | first | length }}", content=huge) == "8000000"
    for template in ["{{ content }}", "{{ content[0] | upper }}", "{{ content[0] ~ 'x' }}"]:
        with pytest.raises(PromptError, match="limit"):
            render(template, content=huge)


def test_a_loop_over_a_huge_list_takes_bounded_time() -> None:
    huge = [0] * 4_000_000
    began = thread_time()

    for template in [
        "{% for a in content %}{% for b in content %}{% endfor %}{% endfor %}",
        "{{ content | map('string') | list }}",
        "{{ content | sort | last }}",
        "{{ 1 in content and 2 in content }}" * 50,
    ]:
        with pytest.raises(PromptError):
            render(template, content=huge)

    assert thread_time() - began < 4 * SECONDS
