"""Reading one manifest file: defaults, front matter, variables, and text from strangers."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.file import ManifestDraft, merge, read_defaults, read_manifest
from agentd.manifest.yaml.nodes import Map, plain
from agentd.manifest.yaml.reader import read
from agentd.problems import errors

Read = Callable[..., Manifest]
Draft = Callable[..., ManifestDraft]
Problems = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "0:0 is empty; a manifest needs at least `capabilities`"),
        *(
            (
                text,
                "1:1 must be a mapping of fields; "
                "write one `name: value` on each line, with a space after the colon",
            )
            for text in ("- a", "name:x")
        ),
    ],
)
def test_a_file_that_is_not_a_mapping_is_a_problem(
    problems: Problems, text: str, problem: str
) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("input: {{ content }}", '2:8 this template is not quoted; write "{{ … }}"'),
        (
            "limits: {cost: ${NO}}",
            '2:17 this `${` inside [ ] or { } is not quoted; write "${…}" for a text, '
            "or put a number on a line of its own",
        ),
        ("model: ${NO}", "2:8 NO is not set; set it, or give a default: ${NO:-…}"),
    ],
)
def test_a_line_with_a_yaml_error_is_reported_once(
    problem_of: Callable[[str], str], field: str, problem: str
) -> None:
    assert problem_of(field) == problem


@pytest.mark.parametrize(
    "text",
    [
        "capabilities: [a]\n" + "".join(f"field{i}: x\n" for i in range(9_000)),
        "capabilities: [" + ", ".join(f"a{i}" for i in range(19_000)) + ", a0]",
        "capabilities: [a]\nmodel: [" + "{nme: x}, " * 6_000 + "x]",
        "capabilities: [a]\nmodel: " + "x" * 900_000 + " y",
        "capabilities: [a]\nname: " + "x" * 900_000,
        "capabilities: [a]\n? " + "x" * 900_000 + "\n: 1",
        "capabilities: [a]\nlimits: {timeout: " + "9" * 900_000 + "s}",
        "capabilities: [a]\ndescription: " + "${A:-" * 180_000,
    ],
    ids=lambda text: str(text)[18:34],
)
def test_a_hostile_manifest_is_refused_quickly(draft: Draft, text: str) -> None:
    started = time.process_time()
    read = draft(text)
    for problem in read.problems:
        assert len(problem.render()) < 1000

    assert errors(read.problems)
    assert time.process_time() - started < 1.0


def test_defaults_are_merged_field_by_field_and_one_level_deep(manifest: Read) -> None:
    upper = "model: a/b\nlimits: {timeout: 9s, concurrency: 2}\nparameters: {seed: 1, stop: [x]}"
    nearer = "limits: {timeout: 8s}"
    own = "capabilities: [a]\nparameters: {stop: [y]}\nlimits:\n  concurrency: ${N}"

    read = manifest(own, upper, nearer)

    assert read.model[0].name == "a/b"
    assert (read.limits.timeout, read.limits.concurrency) == (8.0, 3)
    assert read.parameters == {"seed": 1, "stop": ["y"]}


@pytest.mark.parametrize(
    ("own", "shared"), [("prompt: x.md", "instructions: y"), ("instructions: y", "prompt: x.md")]
)
def test_a_prompt_of_one_kind_replaces_a_default_of_the_other(
    manifest: Read, own: str, shared: str
) -> None:
    read = manifest(f"capabilities: [a]\n{own}", shared)

    assert (read.prompt is None) != (read.instructions is None)


def test_merging_leaves_the_prompt_out_if_the_file_has_one_below_its_front_matter() -> None:
    def fields(text: str) -> Map:
        root = read(text, "f").root
        assert isinstance(root, Map)
        return root

    defaults, own = fields("prompt: x.md\nstream: true"), fields("stream: false")

    assert plain(merge(defaults, own)) == {"prompt": "x.md", "stream": False}
    assert plain(merge(defaults, own, prompted=True)) == {"stream": False}


def test_a_problem_in_the_defaults_is_shown_there(draft: Draft) -> None:
    [problem] = errors(draft("capabilities: [a]", "model: a\nlimits: {timeout: x}").problems)

    assert problem.place == "0/_defaults.yaml:2:19"


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("name: x", "`name` cannot have a default", "every agent needs a name of its own"),
        ("- x", "must be a mapping of fields", ""),
    ],
)
def test_invalid_defaults_are_a_problem(text: str, problem: str, hint: str) -> None:
    [found] = read_defaults(text.encode(), "_defaults.yaml").problems

    assert (found.text, found.hint) == (problem, hint)


def test_empty_defaults_are_allowed(manifest: Read) -> None:
    assert read_defaults(b"", "_defaults.yaml").problems == ()
    assert manifest("capabilities: [a]", "").capabilities == ("a",)


def test_front_matter_is_the_manifest_and_the_rest_is_the_prompt(draft: Draft) -> None:
    text = "---\r\ncapabilities: [review]\r\n---\r\n\r\nYou review.\r\n---\r\nKindly.\r\n"

    read = draft(text, "prompt: shared.md", file="r.agent.md", stem="r")

    assert read.manifest
    assert read.manifest.prompt is None
    assert read.body
    assert (read.body.text, read.body.line) == ("You review.\n---\nKindly.\n", 5)


NO_FRONT_MATTER = (
    "1:1 has no front matter; "
    "begin with a line ---, the fields and another line ---, then write the prompt"
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("capabilities: [a]", NO_FRONT_MATTER),
        ("---\ncapabilities: [a]\n", NO_FRONT_MATTER),
        (
            "---\ncapabilties: [a]\n---\nHi",
            "2:1 unknown field `capabilties`; did you mean `capabilities`?",
        ),
        (
            "---\ncapabilities: [a]\nprompt: x\n---\nHi",
            "3:1 `prompt` cannot be combined with a prompt below the front matter; "
            "keep one of them",
        ),
        ("---\n---\nHi", "1:1 `capabilities` is missing; "),
    ],
)
def test_a_problem_in_front_matter_is_at_its_place(
    problems: Problems, text: str, problem: str
) -> None:
    assert problems(text, file="r.agent.md") == [problem]


def test_front_matter_may_be_empty_if_the_defaults_have_all_fields(manifest: Read) -> None:
    assert manifest("---\n---\nHi", "capabilities: [a]", file="r.agent.md").capabilities == ("a",)


def test_front_matter_that_is_not_text_is_a_problem() -> None:
    read = read_manifest(b"---\n\xff", "r.agent.md", stem="r", defaults=(), environ={})

    assert [problem.text for problem in read.problems] == ["is not UTF-8 text"]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("instructions:", "write one, or delete the line"),
        ("join: ", "write one, or delete the line"),
        ("instructions: # Be kind.", "`#` begins a comment: quote a text that begins with it"),
    ],
)
def test_a_field_without_a_value_is_a_problem(problems: Problems, line: str, hint: str) -> None:
    name = line.partition(":")[0]

    assert problems(f"capabilities: [a]\n{line}\n") == [f"2:1 `{name}` has no value; {hint}"]


def test_null_is_a_value(manifest: Read) -> None:
    assert manifest("capabilities: [a]\nhistory: null", "history: {keep: 1}").history is None


def test_what_has_no_error_is_the_sound_part(draft: Draft) -> None:
    read = draft(
        "capabilities: [a.b]\nname: 'x y'\nlimits: {cost: x}\nretry: {attempts: 2}\n"
        "tools: [{command: [ls]}, {comand: [cat]}, {command: [df]}]\nemit: [{event: x}]\n"
        "model: {routes: [a/b, {nme: c/d}, e/f], cache: 1h}\n"
    )

    assert read.manifest is None
    assert read.sound
    sound = read.sound.manifest
    assert [tool.own_name for tool in sound.tools] == ["ls", "df"]
    assert [model.name for model in sound.model] == ["a/b", "e/f"]
    assert (sound.retry.attempts, sound.capabilities, sound.emit.rules) == (2, (), ())


def test_mistakes_in_several_fields_together_are_found_beside_others(problems: Problems) -> None:
    found = problems(
        "capabilities: [a.b]\ntools: [{command: [ls]}, {command: [ls]}, {command: [ls]}]\n"
        "emit: [{task: a.b, target: m}]\n"
    )

    assert sorted(each.partition(";")[0] for each in found) == [
        "1:16 `capabilities` must be 1 to 64 of A-Z a-z 0-9 _ -",
        "2:27 `tools` has two tools named `ls`",
        "2:44 `tools` has two tools named `ls`",
        "3:28 `emit.target` is this agent itself, which cannot take a task that it has just "
        "emitted",
    ]
