"""Laws of prompts: any text is a prompt or a told mistake, soon; a message is never a template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import thread_time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.bounds import MAX_SIZE, percent_size, size
from agentd.errors import PromptError
from agentd.problems import Problem
from agentd.prompt_filters import as_text
from agentd.prompts import InvalidPrompt, Prompt, PromptLibrary

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUSE = "House: {% macro show(x) %}[{{ x }}]{% endmacro %}{{ agent.name }}\n"
SECONDS = 2.0  # of this thread: eight times the bound of a rendering

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
expressions = st.lists(words, min_size=1, max_size=8).map(" ".join)
pieces = st.one_of(
    st.text(max_size=20),
    words,
    expressions.map("{{{{ {} }}}}".format),
    expressions.map("{{% {} %}}".format),
    st.tuples(expressions, expressions).map(
        lambda pair: f"{{% for x in {pair[0]} %}}{{{{ {pair[1]} }}}}{{% endfor %}}"
    ),
    st.tuples(expressions, expressions).map(
        lambda pair: f"{{% set y = {pair[0]} %}}{{{{ y {pair[1]} }}}}"
    ),
)
templates = st.lists(pieces, max_size=12).map("".join)

# The kinds of payload that template injection is tried with, over the engines there are.
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
# A lone surrogate is no text; the decoder of messages refuses it.
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
    """The prompt with its text or its error, or the problems that kept it from compiling."""
    try:
        prompt = library.compile(name)
    except InvalidPrompt as error:
        return error.problems
    try:
        return prompt, prompt.render(context(content))
    except PromptError as error:
        return prompt, error


@settings(max_examples=400, deadline=None)
@given(template=templates, content=data)
def test_any_text_is_a_prompt_or_a_told_mistake_soon(template: str, content: Any) -> None:
    library = PromptLibrary({"main.md": template, "_house.md": HOUSE})
    began = thread_time()

    came = outcome(library, "main.md", content)

    assert thread_time() - began < SECONDS
    match came:
        case Prompt(), str(text):
            assert len(text.encode()) <= 4 * MAX_SIZE
            assert text == text.strip()
        case Prompt(), PromptError():
            assert str(came[1]).startswith("prompts/")
        case problems:
            assert problems
            assert all(isinstance(problem, Problem) and problem.text for problem in problems)


@settings(deadline=None)
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
def test_a_message_is_never_a_template_in_keys_and_fields_either(payload: str) -> None:
    template = "<{% for key, value in content.items() %}{{ key }}={{ value }}{% endfor %}>"
    prompt = PromptLibrary({}).compile_text(template, "t.md")

    assert prompt.render(context({payload: payload})) == f"<{payload}={payload}>"


@given(value=data)
def test_data_is_written_as_the_json_that_it_is(value: Any) -> None:
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
def test_percent_size_is_never_less_than_what_comes_out(
    parts: list[tuple[str, str]], number: tuple[str, int]
) -> None:
    template = "".join(conversion for conversion, _ in parts) + number[0]
    values = (*(text for conversion, text in parts if "s" in conversion), number[1])

    assert len(template % values) <= percent_size(template, values)


texts = st.sampled_from(["", "a", "{{ content }}", "{% include 'b.md' %}", "{% include 'c.md' %}"])
libraries = st.fixed_dictionaries({"a.md": texts, "b.md": texts, "c.md": texts})


@given(st.lists(libraries, max_size=5))
def test_a_library_after_edits_is_as_one_made_anew(edits: list[dict[str, str]]) -> None:
    library = PromptLibrary({})
    for sources in edits:
        library = PromptLibrary(sources, previous=library)
        fresh = PromptLibrary(sources)
        for name in sources:
            assert outcome(library, name) == outcome(fresh, name)
