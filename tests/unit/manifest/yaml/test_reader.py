"""YAML is read with places, and hostile YAML is refused quickly."""

from __future__ import annotations

import time

import pytest

from agentd.manifest.yaml.nodes import Map, Scalar, plain
from agentd.manifest.yaml.reader import MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_PROBLEMS, read

BIG = MAX_BYTES - 100


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("5", 5),
        ("'5'", "5"),
        ('"true"', "true"),
        ("[1, {b: c}]", [1, {"b": "c"}]),
        ("|\n  x\n   y\n", "x\n y\n"),
        (">\n  5\n", "5\n"),
        ("", None),
    ],
)
def test_values_are_read_in_every_style(text: str, meaning: object) -> None:
    root = read(f"a: {text}\n", "f.yaml").root

    assert root is not None
    assert plain(root) == {"a": meaning}


def test_every_key_and_value_has_a_place() -> None:
    root = read("# comment\nlimits:\n  timeout: 5s\n", "f.yaml").root

    assert isinstance(root, Map)
    limits = root.get("limits")
    assert isinstance(limits, Map)
    key, timeout = limits.entries["timeout"]
    assert (key.span.line, key.span.column, key.span.width) == (3, 3, 7)
    assert isinstance(timeout, Scalar)
    assert (timeout.span.line, timeout.span.column, timeout.span.width) == (3, 12, 2)
    assert timeout.span.problem("no").source == "  timeout: 5s"


DEFAULTS = "put fields that agents share into _defaults.yaml"


@pytest.mark.parametrize(
    ("text", "place", "problem", "hint"),
    [
        ("a: 1\na: 2", "f:2:1", "`a` is given twice", "it is already in line 1"),
        (
            "a: !!python/object:os.system x",
            "f:1:4",
            "YAML tags are not allowed",
            "to make a value text, quote it",
        ),
        (
            "a: &x 1\nb: *x",
            "f:2:4",
            "YAML aliases are not allowed",
            f"{DEFAULTS}, and quote a text that begins with `*`",
        ),
        ("<<: {a: 1}", "f:1:1", "YAML merge keys are not allowed", DEFAULTS),
        ("? [a]\n: b", "f:1:1", "a key must be text", ""),
        (
            "a: 1\n---\nb: 2",
            "f:3:1",
            "a second document begins here",
            "put it into a file of its own",
        ),
        ("a: \x00", "f:1:4", "this is a control character", "save the file as plain text"),
        ("%TAG ! x\n---\na: 1", "f:1:1", "YAML directives are not allowed", ""),
    ],
)
def test_yaml_that_is_not_allowed_is_one_problem_with_a_hint(
    text: str, place: str, problem: str, hint: str
) -> None:
    [found] = read(text, "f").problems

    assert (found.place, found.text, found.hint) == (place, problem, hint)


def test_all_problems_of_a_file_are_reported() -> None:
    document = read("a: 1\na: 2\nb: !x 3\nb: *c\n", "f")

    assert [problem.line for problem in document.problems] == [2, 3, 4, 4]
    assert document.root is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x" * (MAX_BYTES + 1), "is larger than 1,048,576 bytes, the limit of a YAML file"),
        (
            "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2),
            f"the nesting is deeper than {MAX_DEPTH} levels",
        ),
        ("- a\n" * MAX_NODES, f"the file has more than {MAX_NODES:,} values"),
        ("- !a b\n" * (MAX_PROBLEMS + 1), f"the file has more than {MAX_PROBLEMS} problems"),
    ],
    ids=["bytes", "depth", "values", "problems"],
)
def test_the_size_of_a_file_is_limited(text: str, problem: str) -> None:
    assert read(text, "f").problems[-1].text == problem


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_root_and_no_problem(text: str | bytes) -> None:
    document = read(text, "f")

    assert document.root is None
    assert document.problems == ()


def test_bytes_that_are_not_utf_8_have_a_line() -> None:
    (problem,) = read(b"a: 1\nb: \xff\n", "f").problems

    assert (problem.line, problem.text) == (2, "is not UTF-8 text")


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

    # Seconds of CPU: a busy machine needs several times those of an idle one.
    assert time.process_time() - started < 5.0
    assert document.problems or name in ("a long text", "a long number", "line breaks", "variables")
