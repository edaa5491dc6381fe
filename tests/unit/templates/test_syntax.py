"""Each syntax error of Jinja becomes a problem in plain words, with the word and a hint."""

from __future__ import annotations

import pytest

from agentd.templates.expression import InvalidExpression, compile_expression
from agentd.templates.sandbox import BoundedEnvironment
from agentd.templates.source import compile_source

CLOSE = "close `{% if %}` first: write `{% endif %}`"


@pytest.mark.parametrize(
    ("text", "line", "problem", "hint"),
    [
        ("{% endfor %}", 1, "`{% endfor %}` has nothing to end: no `{% for %}` is open",
         "remove it, or write the tag that it ends"),
        ("{% else %}", 1, "`{% else %}` has nothing to end: no `{% if %}` is open",
         "remove it, or write the tag that it ends"),
        ("{% if agent %}\n{% endfor %}", 2, "`{% endfor %}` cannot stand here", CLOSE),
        ("{% for x in agent %}{% if x %}{% endfor %}{% endif %}", 1,
         "`{% endfor %}` cannot stand here", CLOSE),
        ("a\n{% for x in agent %}\nb\n", 2, "`{% for %}` is not closed",
         "write `{% endfor %}` after its content"),
        ("{% fo x in agent %}", 1, "there is no tag `fo`", "did you mean `for`?"),
        ("{% elsif x %}", 1, "there is no tag `elsif`", "write `{% elif … %}`"),
        ("{{ agent", 1, "`{{` is not closed", "write `}}` after the expression"),
        ("{{ agent }", 1, "this expression is not closed", "end it with `}}`"),
        ("{% if agent }}x{% endif %}", 1, "this tag is not closed", "end it with `%}`"),
        ("{# abc", 1, "this comment is not closed", "end it with `#}`"),
        ("{% %}", 1, "this tag is empty", "write a tag such as `{% if x %}`"),
        ("{{ (agent }}", 1, "`(` is not closed", "write `)` where it ends"),
        ("{{ agent) }}", 1, "`)` closes nothing", "remove it"),
        ("{% for x of agent %}{% endfor %}", 1, "`of` stands where `in` must be",
         "write `{% for item in list %}`"),
        ("{{ agent | }}", 1, "the tag ends where a name must stand", ""),
        ("{{ 'abc }}", 1, "this quote is not closed", "put the same quote at the end of the text"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_template_is_explained(
    text: str, line: int, problem: str, hint: str
) -> None:
    [found] = compile_source(BoundedEnvironment(), "t", text).problems

    assert (found.line, found.text, found.hint) == (line, problem, hint)
    assert found.word in text


@pytest.mark.parametrize(
    ("text", "word", "problem", "hint"),
    [
        ("output = 1", "=", "`=` sets a value", "write `==` to compare"),
        ("output === 1", "===", "`===` has no meaning here", "write `==` or `>=`"),
        ("output && 1", "&", "`&` has no meaning here", "write `and`"),
        ("output || 1", "||", "`||` has no meaning here", "write `or`"),
        ("!output", "!", "`!` has no meaning here", "write `not`, or `!=` to compare"),
        ("output ? 1 : 2", "?", "`?` has no meaning here", "write `a if b else c`"),
        ("output == “x”", "“", "`“` has no meaning here", "use straight quotes, ' or \""),
        ("output[0", "[", "`[` is not closed", "write `]` where it ends"),
        ("output and", "", "the expression ends too early",
         "write a value after the last word or sign"),
        ("output..x", ".", "a name must follow", "write `a.b` or `a[0]`"),
        ("{{ output }}", "{{", "an expression has no `{{ }}`", "write only `output`"),
        ("output == null", "null", "unknown name `null`", "write `none`"),
        ("len(output)", "len", "unknown name `len`", "write `… | length`"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_expression_is_explained(
    text: str, word: str, problem: str, hint: str
) -> None:
    with pytest.raises(InvalidExpression) as caught:
        compile_expression(text, names=["output"])

    [found] = caught.value.problems
    assert (found.word, found.text, found.hint) == (word, problem, hint)


def test_an_error_that_is_not_in_the_table_keeps_jinja_s_words() -> None:
    [found] = compile_source(BoundedEnvironment(), "t", "{% call x %}{% endcall %}").problems

    assert found.text == "expected call"
