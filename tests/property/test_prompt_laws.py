"""Laws of prompts: any text compiles or has problems, in bounded time; data is never a template."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import thread_time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.errors import PromptError
from agentd.problems import Problem
from agentd.templates.bounds import MAX_SIZE, percent_size, size
from agentd.templates.filters import as_text
from agentd.templates.prompts import InvalidPrompt, Prompt, PromptLibrary

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUSE = "House: {% macro show(x) %}[{{ x }}]{% endmacro %}{{ agent.name }}\n"
SECONDS = 2.0  # CPU time of this thread: eight times the limit of a rendering

WORDS = """
    {{ }} {% %} {# #} {%- -%} {{- -}} ( ) [ ] { } , . : | ~ + - * / // % ** == != < > =
    if else elif endif for endfor in not and or is set endset macro endmacro call endcall block
    endblock include extends import from as with endwith filter endfilter raw endraw recursive
    agent message content context now loop self super caller range dict namespace cycler joiner
    name text items x y m true none 0 1 7 1000 1000000000 1.5 'a' '' '_house.md' 'x.md' '%d' '%99s'
    upper join sort map list replace center indent format tojson default length sum slice batch
    groupby unique int string defined mapping divisibleby
"""
words = st.sampled_from(WORDS.split())
garbage = st.one_of(
    st.text(max_size=20),
    words,
    st.lists(words, max_size=8).map(" ".join).map("{{{{ {} }}}}".format),
    st.lists(words, max_size=8).map(" ".join).map("{{% {} %}}".format),
)

# Forms of valid templates, so that most examples compile and many render.
FORMS = """
    (A + B)   (A * B)   (A ** B)   (A % B)   (A // B)   (A - B)   (A ~ B)   (A == B)   (A < B)
    (A in B)   (A if B else C)   (not A)   (-A)   [A, B]   [A]   {'k': A}   (A, B)   A.k   A.x
    A[B]   A[B:C]   A[:B]   dict(k=A)   namespace(k=A).k   range(A)   A.items()   A.split(B)
    A.upper()   A.replace(B, C)   A.join(B)   A.center(B)   cycler(A, B).next()   A|upper
    A|list   A|join(B)   A|sort   A|map('string')|list   A|map(attribute=B)|list   A|select|list
    A|replace(B, C)   A|center(B)   A|indent(B)   A|format(B)   A|tojson   A|tojson(indent=B)
    A|default(B)   A|length   A|sum   A|slice(B)|list   A|batch(B, C)|list   A|groupby(B)|list
    A|unique|list   A|int(base=B)   A|round(B)   A|first   A|last   A|reverse   A|string
    A|trim(B)   A|truncate(B)   A|title   A|e   A|wordcount   A|dictsort   A|items|list   A|max
    A|abs   (A is defined)   (A is divisibleby B)   (A is mapping)   m(A)   x   y
"""
ATOMS = """
    content agent.name message now 'ab' '' '%s' '%9d' '.' 0 1 -3 7 1.5 99 99999 1000000000 true none
    content.x content[0] content|string range(99) range(99999) ('x'*9999) [1,2,3] x y
"""
TAGS = """
    {{A}}   {{B}}   {%if A%}T{%else%}T{%endif%}   {%for x in A%}T{{x}}{%endfor%}
    {%for x in A if B%}T{{loop.index}}{%endfor%}   {%for x in A recursive%}{{loop(x)}}T{%endfor%}
    {%set x=A%}T{{x}}   {%set y%}T{{A}}{%endset%}{{y}}   {%filter upper%}T{%endfilter%}
    {%macro m(x)%}T{{x}}{%endmacro%}{{m(A)}}   {%macro m(x)%}{{m(x)}}{%endmacro%}{{m(A)}}
    {%with x=A%}T{{x}}{%endwith%}   {%block b%}T{%endblock%}   {%include '_house.md'%}T
    {%from '_house.md' import show%}{{show(A)}}
    {%set n=namespace(k=A)%}{%for x in B%}{%set n.k=[n.k,n.k]%}{%endfor%}{{n.k}}
    {%set n=namespace(k=A)%}{%for x in B%}{%set n.k=n.k~n.k%}{%endfor%}{{n.k}}
"""


def forms(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(
        [form for line in text.splitlines() for form in line.strip().split("   ")]
    )


def filled(form: str, **parts: str) -> str:
    """`form` with a part in place of each single capital letter."""
    return re.sub(r"\b[A-Z]\b", lambda letter: parts[letter[0]], form)


expressions = st.recursive(
    st.sampled_from(ATOMS.split()),
    lambda inner: st.builds(filled, forms(FORMS.strip()), A=inner, B=inner, C=inner),
    max_leaves=8,
)
sentences = st.recursive(
    st.sampled_from(["", "text ", "{{ content }}", "\n"]),
    lambda inner: st.builds(filled, forms(TAGS.strip()), A=expressions, B=expressions, T=inner),
    max_leaves=6,
)
templates = st.lists(sentences | garbage, max_size=3).map("".join) | sentences
HEAD = "{% set x = [1, 2] %}{% set y = 'y' %}{% macro m(x) %}({{ x }}){% endmacro %}"

# The payloads of template injection for all common engines.
PAYLOADS = [
    "{{7*7}}",
    "{{7*'7'}}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{{config}}",
    "{{self}}",
    "{% include '_house.md' %}",
    "{% extends '_house.md' %}",
    "{% raw %}{{ agent }}{% endraw %}",
    "{# x #}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ request.application.__globals__.__builtins__.__import__('os').popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{{ agent.name|attr('__class__') }}",
    "}}{{ agent.name }}{{",
    "%}{% set x = 1 %}{%",
    "{{ 'x' * 10 ** 9 }}",
    "{% endblock %}{% block b %}x",
    "\\{{ agent }}",
    "{{ '{0.__class__}'.format(agent) }}",
]
payloads = st.one_of(st.sampled_from(PAYLOADS), st.text(max_size=60), templates)
# The decoder of messages refuses half a surrogate pair, so no message has one.
sendable = payloads.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))

scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.text(max_size=12))
data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)


def context(content: Any) -> Mapping[str, Any]:
    agent = {"name": "analyst"}
    return {"agent": agent, "message": {}, "content": content, "context": {}, "now": NOW}


def outcome(library: PromptLibrary, name: str, content: Any = "hello") -> Sequence[Any]:
    """The prompt with its text or its error; the problems if it does not compile."""
    try:
        prompt = library.compile(name)
    except InvalidPrompt as error:
        return error.problems
    try:
        return prompt, prompt.render(context(content))
    except PromptError as error:
        return prompt, error


@settings(max_examples=400)
@given(template=templates, content=data)
def test_any_text_renders_or_is_an_error_in_bounded_time(template: str, content: Any) -> None:
    library = PromptLibrary({"main.md": HEAD + template, "_house.md": HOUSE})
    began = thread_time()

    result = outcome(library, "main.md", content)

    assert thread_time() - began < SECONDS
    match result:
        case Prompt(), str(text):
            assert len(text.encode()) <= 4 * MAX_SIZE
            assert text == text.strip()
        case Prompt(), PromptError():
            assert str(result[1]).startswith("prompts/")
        case problems:
            assert problems
            assert all(isinstance(problem, Problem) and problem.text for problem in problems)


@given(payload=sendable)
def test_a_message_is_never_a_template(payload: str) -> None:
    library = PromptLibrary(
        {
            "main.md": "{% from '_house.md' import show %}<{{ content }}>{{ show(content) }}"
            "{% for x in [content] %}{{ x }}{% endfor %}{{ content ~ '|' }}{{ '%s' % content }}"
            "{% set y %}{{ content }}{% endset %}{{ y }}{{ content | default('x') }}>",
            "_house.md": HOUSE,
        }
    )
    text = library.compile("main.md").render(context(payload))

    shown = f"<{payload}>[{payload}]{payload}{payload}|{payload}{payload}"
    assert text == shown + f"{payload}>"


@given(payload=sendable)
def test_keys_and_fields_of_a_message_are_never_templates(payload: str) -> None:
    # Not `content.items()`: a message can have a field `items`, which takes precedence.
    template = "<{% for key, value in content | items %}{{ key }}={{ value }}{% endfor %}>"
    prompt = PromptLibrary({}).compile_text(template, "t.md")

    assert prompt.render(context({payload: payload})) == f"<{payload}={payload}>"


@given(value=data)
def test_data_is_rendered_as_json(value: Any) -> None:
    text = PromptLibrary({}).compile_text("<{{ content }}>", "t.md").render(context(value))

    assert text[1:-1] == as_text(value)
    if not isinstance(value, str):
        assert json.loads(text[1:-1]) == value


@given(value=data, times=st.integers(1, 5))
def test_size_adds_up(value: Any, times: int) -> None:
    assert size([value] * times) == times * (size(value) + 16)


conversions = st.sampled_from(["%s", "%5s", "%-20s", "%.3s", "%%", "100 %% x ", "(3) "])
numbers = st.sampled_from(["%d", "%5d", "%+.2f", "%020.10f", "%e", "%x", "%g"])


@given(
    parts=st.lists(st.tuples(conversions, st.text("ab (.)", max_size=9)), max_size=6),
    number=st.tuples(numbers, st.integers(-(10**300), 10**300)),
)
def test_the_estimated_size_of_a_format_is_never_too_small(
    parts: list[tuple[str, str]], number: tuple[str, int]
) -> None:
    template = "".join(conversion for conversion, _ in parts) + number[0]
    values = (*(text for conversion, text in parts if "s" in conversion), number[1])

    assert len(template % values) <= percent_size(template, values)


texts = st.sampled_from(["", "a", "{{ content }}", "{% include 'b.md' %}", "{% include 'c.md' %}"])
libraries = st.fixed_dictionaries({"a.md": texts, "b.md": texts, "c.md": texts})


@given(st.lists(libraries, max_size=5))
def test_a_library_after_edits_equals_a_new_one(edits: list[dict[str, str]]) -> None:
    library = PromptLibrary({})
    for sources in edits:
        library = PromptLibrary(sources, previous=library)
        fresh = PromptLibrary(sources)
        for name in sources:
            assert outcome(library, name) == outcome(fresh, name)
