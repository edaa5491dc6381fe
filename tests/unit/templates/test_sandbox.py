"""The sandbox: what templates may do, what they may not, and that nothing takes long or grows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from time import sleep, thread_time
from typing import Any

import pytest

from agentd.errors import PromptError
from agentd.templates.bounds import MAX_SECONDS, MAX_SIZE, BoundExceeded, Budget, size
from agentd.templates.filters import as_text
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
SECONDS = 2.0  # far over the bound of a rendering, far under what these would take without it


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
def test_prompts_have_what_jinja_has(template: str, text: str) -> None:
    assert render(template) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ({"a": [1, "ü", None]}, '{"a": [1, "ü", null]}'),
        ((1, 2.5), "[1, 2.5]"),
        (True, "true"),
        (None, "null"),
        (-3, "-3"),
        (date(2026, 3, 1), "2026-03-01"),
        ({"at": NOW}, '{"at": "2026-03-01 12:30:00+00:00"}'),
    ],
)
def test_values_are_written_as_text_or_json(value: Any, text: str) -> None:
    assert as_text(value) == text
    assert render("{{ content }}", content=value) == text
    assert render("{{ '' ~ content }}", content=value) == text
    assert render("{{ [content] | join }}", content=value) == text


def test_json_keeps_what_html_would_escape() -> None:
    assert render("{{ content | tojson }}", content="<a href='x'>&") == "\"<a href='x'>&\""
    assert render("{{ content | tojson(indent=2) }}", content={"a": 1}) == '{\n  "a": 1\n}'


def test_data_goes_before_the_methods_of_its_type() -> None:
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
def test_a_bomb_is_refused_before_it_goes_off(template: str) -> None:
    began = thread_time()

    with pytest.raises((PromptError, InvalidPrompt)):
        render(template)

    assert thread_time() - began < SECONDS


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
def test_a_template_that_would_compile_for_long_is_refused(template: str) -> None:
    began = thread_time()

    with pytest.raises(InvalidPrompt):
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
    ("template", "mistake"),
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
        ("{{ '\\ud800' }}", "makes half a surrogate pair, which is no text"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself too deeply"),
        ("{{ 'x' * 2000000 }}", "needs a value of 2,000,000 characters; 1,000,000 are the limit"),
        (
            "{{ 'x' * 999999 }}{{ 'x' * 999999 }}",
            "makes 1,999,998 characters; a prompt has at most 1,000,000",
        ),
    ],
)
def test_errors_say_what_the_author_can_mend(template: str, mistake: str) -> None:
    with pytest.raises(PromptError) as raised:
        render(template)

    assert str(raised.value).partition(": ")[2] == mistake


def test_a_huge_content_can_be_cut_but_not_poured_in() -> None:
    huge = ["x" * 8_000_000]

    assert render("{{ content[0] | truncate(10) }}", content=huge) == "xxxxxxx..."
    assert render("{{ content[0][:3] }}", content=huge) == "xxx"
    assert render("{{ content | first | length }}", content=huge) == "8000000"
    for template in ["{{ content }}", "{{ content[0] | upper }}", "{{ content[0] ~ 'x' }}"]:
        with pytest.raises(PromptError, match="limit"):
            render(template, content=huge)


def test_a_huge_list_is_looped_over_for_a_bounded_time() -> None:
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


def test_size_counts_shared_values_as_often_as_they_are_met() -> None:
    shared = ["abc"]

    assert size("abc") == 3
    assert size(7) == size(None) == size(NOW) == 0
    assert size([shared, shared]) == 2 * (16 + 16 + 3)
    assert size({"key": ("ab",)}) == 16 + 3 + 16 + 2


def test_size_gives_up_early() -> None:
    with pytest.raises(BoundExceeded):
        size([["x" * MAX_SIZE], "x"])
    with pytest.raises(BoundExceeded):
        size([0] * MAX_SIZE)


def test_what_can_be_read_once_becomes_a_list() -> None:
    assert Budget().made(iter([1, 2])) == [1, 2]
    assert Budget().made({"a": 1}.items()) == [("a", 1)]


def test_one_long_pause_is_no_fault_of_the_template() -> None:
    budget = Budget()

    burn(MAX_SECONDS * 1.5)  # as a garbage collection of a large heap does
    budget.spend()
    burn(MAX_SECONDS)
    with pytest.raises(BoundExceeded, match="longer"):
        budget.spend()


def test_only_time_of_our_own_counts() -> None:
    budget = Budget()

    for _ in range(3):
        sleep(MAX_SECONDS)
        budget.spend()


def burn(seconds: float) -> None:
    end = thread_time() + seconds
    while thread_time() < end:
        pass
