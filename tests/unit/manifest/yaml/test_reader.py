"""YAML is read with places, by the rules of 1.2, and nothing hostile gets far."""

from __future__ import annotations

import time

import pytest

from agentd.manifest.yaml.nodes import Map, Scalar, plain
from agentd.manifest.yaml.reader import MAX_BYTES, read

BIG = MAX_BYTES - 100


def value(text: str) -> object:
    document = read(f"a: {text}\n", "f.yaml")
    assert document.root is not None
    return plain(document.root)["a"]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-2.5E-3", -0.0025),
        # What YAML 1.1 takes for something else.
        ("yes", "yes"),
        ("on", "on"),
        ("012", "012"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("9" * 40, "9" * 40),
        ("'5'", "5"),
        ('"true"', "true"),
        ("[1, {b: c}]", [1, {"b": "c"}]),
        ("|\n  x\n   y\n", "x\n y\n"),
    ],
)
def test_values_mean_what_yaml_1_2_says(text: str, meaning: object) -> None:
    assert value(text) == meaning
    assert type(value(text)) is type(meaning)


def test_everything_knows_its_place() -> None:
    root = read("# comment\nlimits:\n  timeout: 5s\n", "f.yaml").root

    assert isinstance(root, Map)
    limits = root.get("limits")
    assert isinstance(limits, Map)
    key, timeout = limits.entries["timeout"]
    assert (key.span.line, key.span.column, key.span.width) == (3, 3, 7)
    assert isinstance(timeout, Scalar)
    assert (timeout.span.line, timeout.span.column, timeout.span.width) == (3, 12, 2)
    assert timeout.span.problem("no").source == "  timeout: 5s"


@pytest.mark.parametrize(
    ("text", "place", "mistake", "mend"),
    [
        ("a: {{ x }}", "f:1:4", "a template that is not quoted", 'write "{{ … }}"'),
        ("a: {{ x }} and y", "f:1:4", "a template that is not quoted", 'write "{{ … }}"'),
        ("a: {% if x %}", "f:1:4", "a template that is not quoted", 'write "{{ … }}"'),
        ("a:\n\tb: 1", "f:2:1", "a tab in the indentation", "indent with spaces"),
        ("a: @x", "f:1:4", "a value cannot begin with `@`", "quote it"),
        ("a: [*.x]", "f:1:5", "a value cannot begin with `*`", "quote it"),
        ("a: b: c", "f:1:5", "a `:` where no field can begin", "quote a value"),
        ("a: [1,\n  2\nb: 3", "f:1:4", "this list is not closed", "a ]"),
        ("a: {b: 1\n", "f:1:4", "this mapping is not closed", "a }"),
        ('a: "x\n', "f:1:4", "this quote is not closed", ""),
        ('a: "\\q"', "f:1:5", "an unknown \\ inside double quotes", "single quotes"),
        ("a: ['${X}', ${Y}]", "f:1:14", "a `${` inside [ ] or { } that is not quoted", '"${…}"'),
        ("a: 'it's'", "f:1:8", "this fits nothing before it", "quotes"),
        ("a: 1\na: 2", "f:2:1", "`a` is given twice", "line 1"),
        ("a: !!python/object:os.system x", "f:1:4", "YAML tags are not taken", "quote"),
        ("a: &x 1\nb: *x", "f:2:4", "YAML aliases are not taken", "_defaults.yaml"),
        ("<<: {a: 1}", "f:1:1", "YAML merge keys are not taken", "_defaults.yaml"),
        ("? [a]\n: b", "f:1:1", "a key must be text", ""),
        ("a: 1\n---\nb: 2", "f:3:1", "a second document; one file holds one", ""),
        ("a: \x00", "f:1:4", "a control character", "plain text"),
        ("%TAG ! x\n---\na: 1", "f:1:1", "YAML directives are not taken", ""),
    ],
)
def test_a_mistake_is_told_once_with_its_mend(
    text: str, place: str, mistake: str, mend: str
) -> None:
    (problem,) = read(text, "f").problems

    assert problem.place == place
    assert problem.text == mistake
    assert mend in problem.hint


def test_all_mistakes_of_a_file_are_told() -> None:
    document = read("a: 1\na: 2\nb: !x 3\nb: *c\n", "f")

    assert [problem.line for problem in document.problems] == [2, 3, 4, 4]
    assert document.root is not None


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_root_and_no_problem(text: str | bytes) -> None:
    document = read(text, "f")

    assert document.root is None
    assert document.problems == ()


def test_bytes_that_are_no_utf8_are_placed() -> None:
    (problem,) = read(b"a: 1\nb: \xff\n", "f").problems

    assert (problem.line, problem.text) == (2, "not UTF-8")


HOSTILE = {
    "deep lists": "[" * BIG,
    "deep mappings": "{" * BIG,
    "deep pairs": "{a: " * (BIG // 4),
    "deep block": "- " * (BIG // 2),
    "deep keys": "? " * (BIG // 2),
    "deep indent": "".join(" " * i + "a:\n" for i in range(1400)),
    "many items": "- a\n" * (BIG // 4),
    "many commas": "[" + "a," * (BIG // 2 - 2) + "]",
    "many keys": "".join(f"k{i}: v\n" for i in range(80_000)),
    "same key": "a: 1\n" * (BIG // 5),
    "documents": "--- a\n" * (BIG // 6),
    "directives": "".join(f"%TAG !e{i}! x\n" for i in range(50_000)) + "---\na",
    "merge bomb": "a: &a {x: 1}\n" + "".join(f"b{i}: {{<<: [*a, *a]}}\n" for i in range(9999)),
    "laughs": "a: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a, *a]\n" for i in range(9999)),
    "aliases": "a: &a 1\nb: [" + "*a," * (BIG // 3 - 9) + "]",
    "anchors": "&a " * (BIG // 3),
    "tags": "- !a b\n" * (BIG // 7),
    "a long text": 'a: "' + "x" * (BIG - 9) + '"',
    "a long key": "x" * (BIG - 9) + ": 1",
    "a long number": "a: " + "9" * (BIG - 9),
    "line breaks": "a: '" + "\n" * (BIG - 9) + "'",
    "quotes": '"' * BIG,
    "colons": "a:" * (BIG // 2),
    "templates": "{{ a }}\n" * (BIG // 8),
    "variables": "a: " + "${[" * (BIG // 4),
    "complex keys": "{[a]: b," * (BIG // 8),
    "zeros": "\0" * BIG,
    "too much": "a" * (MAX_BYTES + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_neither_crashes_nor_takes_long(name: str) -> None:
    started = time.process_time()
    document = read(HOSTILE[name], "f")
    if document.root is not None:
        plain(document.root)
    for problem in document.problems:
        problem.render()

    assert time.process_time() - started < 1.0
    assert document.problems or name in ("a long text", "a long number", "line breaks", "variables")
