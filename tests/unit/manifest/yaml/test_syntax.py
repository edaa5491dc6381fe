"""Each syntax error of libyaml becomes one problem in plain words, with a hint."""

from __future__ import annotations

import pytest

from agentd.manifest.yaml.nodes import YamlSource
from agentd.manifest.yaml.reader import read
from agentd.manifest.yaml.syntax import explain

INDENTATION = "check indentation and quotes"


@pytest.mark.parametrize(
    ("text", "place", "problem", "hint"),
    [
        ("a: {{ x }}", "f:1:4", "this template is not quoted", 'write "{{ … }}"'),
        ("a: {{ x }} and y", "f:1:4", "this template is not quoted", 'write "{{ … }}"'),
        ("a: {% if x %}", "f:1:4", "this template is not quoted", 'write "{{ … }}"'),
        ("a:\n\tb: 1", "f:2:1", "this line is indented with a tab", "indent with spaces"),
        ("a: @x", "f:1:4", "a value cannot begin with `@`", "quote it"),
        ("a: [*.x]", "f:1:5", "a value cannot begin with `*`", "quote it"),
        (
            "a: b: c",
            "f:1:5",
            "a text with `: ` in it must be quoted",
            'write "b: c"',
        ),
        (
            "a: Answer: {{ x }}",
            "f:1:10",
            "a text with `: ` in it must be quoted",
            'write "Answer: {{ x }}"',
        ),
        ("a: {{ x }}: y", "f:1:4", "this template is not quoted", 'write "{{ … }}"'),
        (
            '- a: say "b": c',
            "f:1:13",
            "a text with `: ` in it must be quoted",
            "write 'say \"b\": c'",
        ),
        ("a: {b: https://c.d/{{ x }}}", "f:1:20", "this template is not quoted", 'write "{{ … }}"'),
        (
            'a: "say "b" to"',
            "f:1:10",
            "the text ends at the quote before this",
            'write \\" for a quote inside double quotes',
        ),
        ("a:\n- b\n-c\n", "f:3:1", "this item has no space after its `-`", "write `- item`"),
        (
            "a: b\n  c: d\n",
            "f:2:4",
            "no field can begin at this `:`",
            "quote a value that contains `: `, or check the indentation",
        ),
        (
            "a: [b]\n c: d\n",
            "f:2:2",
            "the indentation of this line fits no line above it",
            "begin all fields of a mapping in the same column",
        ),
        ("a: [b]\n- c\n", "f:2:1", "this item belongs to no list", "indent it below its field"),
        (
            "a: [1,\n  2\nb: 3",
            "f:1:4",
            "this list is not closed",
            "put commas between the items and a ] at the end",
        ),
        (
            "a: {b: 1\n",
            "f:1:4",
            "this mapping is not closed",
            "put commas between the fields and a } at the end",
        ),
        (
            'a: "x\n',
            "f:1:4",
            "this quote is not closed",
            "put the same quote at the end of the text",
        ),
        (
            'a: "\\q"',
            "f:1:5",
            "unknown escape inside double quotes",
            "write \\\\ for a \\, or use single quotes",
        ),
        (
            "a: ['${X}', ${Y}]",
            "f:1:14",
            "this `${` inside [ ] or { } is not quoted",
            'write "${…}" for a text, or put a number on a line of its own',
        ),
        (
            "a: 'it's'",
            "f:1:8",
            "the text ends at the quote before this",
            "write '' for a quote inside single quotes",
        ),
        ("a: 1\nb\nc: 2", "f:2:1", "this field has no `:`", "write `name: value`"),
        ("a: - b", "f:1:4", "a list cannot begin here", "begin it on a new line"),
        ("[a]\nb", "f:2:1", "unexpected text after the end", INDENTATION),
    ],
)
def test_a_syntax_error_is_explained(text: str, place: str, problem: str, hint: str) -> None:
    [found] = read(text, "f").problems

    assert (found.place, found.text, found.hint) == (place, problem, hint)


def test_an_error_that_is_not_in_the_table_is_shown_in_the_words_of_libyaml() -> None:
    found = explain("did not find <odd thing>", YamlSource("f", ("a: b",)), (1, 4), (1, 1))

    assert (found.place, found.text, found.hint) == ("f:1:4", "did not find odd thing", "")
