"""Validation errors become problems: one for each error, at its place, with a hint."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from agentd.manifest.diagnose import diagnose, place
from agentd.manifest.file import ManifestDraft
from agentd.manifest.limits import Retry
from agentd.manifest.yaml.nodes import Map, plain
from agentd.manifest.yaml.reader import MAX_PROBLEMS, read

ProblemOf = Callable[[str], str]
Problems = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("promt: x.md", "2:1 unknown field `promt`; did you mean `prompt`?"),
        ("limits: {timout: 5s}", "2:10 unknown field `timout`; did you mean `timeout`?"),
        ("temperature: 1", "2:1 unknown field `temperature`; it belongs under `parameters`"),
        ("timeout: 5s", "2:1 unknown field `timeout`; it belongs under `limits`"),
        ("backoff: 5s", "2:1 unknown field `backoff`; it belongs under `retry`"),
        (
            "retry: {zzz: 5s}",
            "2:9 unknown field `zzz`; the fields here are attempts, backoff, max_backoff",
        ),
        ("description: 5", "2:14 `description` must be text; quote it"),
        ("description:", "2:1 `description` has no value; write one, or delete the line"),
        (
            "stream: yes",
            "2:9 `stream` must be true or false; yes, no, on and off are text in YAML 1.2",
        ),
        ("stream: maybe", "2:9 `stream` must be true or false; "),
        (
            "limits: 5",
            "2:9 `limits` must be a mapping; for example `{concurrency: 8, timeout: 120s}`",
        ),
        (
            "tools: 5",
            "2:8 `tools` must be a list; "
            "write [ ] around it, or put each item on a line that begins with `- `",
        ),
        (
            "parameters: [x]",
            "2:1 `parameters` must be a mapping; for example `{temperature: 0.2, max_tokens: 800}`",
        ),
        (
            "tools: [weather.py:forecast]",
            "2:9 an item of `tools` must be a mapping; for example `{python: weather.py:forecast}`",
        ),
        ("tools: [{name: [a]}]", "2:10 `tools.name` must be text; "),
        (
            "emit: [a.b]",
            "2:8 an item of `emit` must be a mapping; for example `{event: report.ready}`",
        ),
        (
            "emit: {event: a.b}",
            "2:8 unknown field `event`; it belongs into an item of `rules`: "
            "begin the item with `- `",
        ),
        (
            "output: {schema: {}, type: object}",
            "2:22 unknown field `type`; a JSON Schema belongs under `schema`",
        ),
    ],
)
def test_an_error_is_one_problem_with_its_place_and_a_hint(
    problem_of: ProblemOf, field: str, problem: str
) -> None:
    assert problem_of(field) == problem


def test_an_unknown_field_that_is_like_no_other_gets_the_list_of_fields(
    problem_of: ProblemOf,
) -> None:
    assert problem_of("zzzz: 1").startswith(
        "2:1 unknown field `zzzz`; the fields are name, description, capabilities, model,"
    )


def test_a_misspelt_required_field_is_reported_once(problems: Problems) -> None:
    assert problems("capabilties: [a]") == [
        "1:1 unknown field `capabilties`; did you mean `capabilities`?"
    ]
    assert problems("description: x") == ["1:1 `capabilities` is missing; "]


def test_all_errors_of_a_manifest_are_reported_together(problems: Problems) -> None:
    text = (
        "capabilities: [a, b.c, a, _d]\npromt: x\nlimits: {cost: -1}\ndescription: 5\nprompt: 7\n"
    )

    assert len(problems(text)) == 6


def test_many_errors_are_counted_but_not_all_shown(problems: Problems) -> None:
    text = "capabilities: [a]\n" + "".join(f"field{i}: x\n" for i in range(1000))

    found = problems(text)

    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == "1:1 there are 950 more problems like these; "


def test_a_file_name_that_is_no_name_is_a_problem_with_a_hint(
    problems: Callable[..., list[str]],
) -> None:
    assert problems("capabilities: [a]", stem="my agent") == [
        "1:1 `name` must be 1 to 64 of A-Z a-z 0-9 _ -; "
        "it comes from the file name; set `name`, or rename the file"
    ]


def test_other_models_are_diagnosed_too() -> None:
    root = read("attempts: 0\nbakoff: 1s\n", "f").root
    assert isinstance(root, Map)
    with pytest.raises(ValidationError) as refused:
        Retry.model_validate(plain(root))

    found = diagnose(refused.value, root, model=Retry, subject="the policy")

    assert [(each.line, each.text, each.hint) for each in found] == [
        (1, "`attempts` must be at least 1", ""),
        (2, "unknown field `bakoff`", "did you mean `backoff`?"),
    ]


def test_every_model_with_a_condition_is_a_warning(draft: Callable[[str], ManifestDraft]) -> None:
    read = draft("capabilities: [a]\nmodel: [{name: a/b, when: content}]")
    [warning] = read.problems
    assert (warning.severity, warning.line, warning.column) == ("warning", 2, 27)
    assert "fails with no_model" in warning.text
    assert read.manifest

    assert not draft("capabilities: [a]\nmodel: [{name: a/b, when: content}, c/d]").problems
    assert not draft("capabilities: [a]\nmodel: a/b").problems


def test_the_place_of_an_absent_field_is_the_nearest_thing_around_it() -> None:
    root = read("limits:\n  timeout: 5s\n", "f").root
    assert isinstance(root, Map)

    spans = [place(root, loc) for loc in (("limits", "timeout"), ("limits", "cost"), ("retry",))]

    assert [(span.line, span.column) for span in spans] == [(2, 12), (1, 1), (1, 1)]
