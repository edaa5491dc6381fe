"""A `*.test.yaml` file is read as written, or every problem in it has a place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from agentd.manifest.file_schema import schema_text
from agentd.manifest.yaml import reader
from agentd.manifest.yaml.nodes import plain
from agentd.testing.cases.case import Case, Suite, json_schema, read_suites

ROOT = Path(__file__).parents[4]
TESTS = sorted(
    file for folder in ("manifests", "examples") for file in (ROOT / folder).rglob("*.test.yaml")
)
FENCES = re.findall(r"```yaml\n(cases:.*?)```", (ROOT / "docs/testing.md").read_text(), re.DOTALL)


def read(folder: Path, text: str, name: str = "me.test.yaml") -> tuple[list[Suite], list[str]]:
    (folder / name).write_text(text)
    suites, problems = read_suites(folder)
    if not problems:
        # Editors must not find errors in what loads: checked for every file of these tests.
        root = reader.read(text, name).root
        Draft202012Validator(json_schema()).validate(plain(root) if root else None)
    return suites, [problem.text for problem in problems]


def case(folder: Path, fields: str) -> Case:
    [suite], problems = read(folder, f"cases: [{{name: c, input: x, expect: {{}}, {fields}}}]")
    assert problems == []
    return suite.cases[0]


def test_a_suite_is_about_the_agent_of_its_file_name_unless_it_names_another(
    tmp_path: Path,
) -> None:
    [suite], _ = read(tmp_path, "cases: [{name: c, expect: {}}]")
    assert (suite.agent, suite.cassette) == ("me", tmp_path / "me.cassette.json")

    [suite], _ = read(tmp_path, "agent: you\ncases: [{name: c, expect: {}}]")
    assert suite.agent == "you"


def test_suites_are_found_in_all_folders_and_sorted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("b.test.yml", "a/z.test.yaml", "b.yaml", "c.test.txt"):
        (tmp_path / name).write_text("cases: [{name: c, expect: {}}]")

    suites, _ = read_suites(tmp_path)

    assert [suite.agent for suite in suites] == ["z", "b"]


def test_the_short_form_of_a_tool_is_an_answer(tmp_path: Path) -> None:
    tools = case(tmp_path, "tools: {a: grey, b: {returns: {x: 1}}, c: {error: no}}").tools

    assert (tools["a"].returns, tools["b"].returns, tools["c"].error) == ("grey", {"x": 1}, "no")


def test_the_short_form_of_a_tool_call_is_its_name(tmp_path: Path) -> None:
    [suite], _ = read(tmp_path, "cases: [{name: c, expect: {tool_calls: [look]}}]")
    calls = suite.cases[0].expect.tool_calls or ()

    assert [(call.name, call.arguments) for call in calls] == [("look", {})]


def test_a_case_without_a_model_keeps_the_model_of_its_agent(tmp_path: Path) -> None:
    assert case(tmp_path, "runs: 1").stand_in is None


def test_a_case_replaces_the_model_by_the_echo_or_a_script(tmp_path: Path) -> None:
    echo = case(tmp_path, "model: mock/echo").stand_in
    script = case(tmp_path, "model: [hello]").stand_in

    assert echo is not None
    assert (echo.name, echo.script) == ("mock/echo", None)
    assert script is not None
    assert (script.name, script.script) == ("mock/script", ["hello"])


@pytest.mark.parametrize(
    ("fields", "needed"),
    [("runs: 1", 1), ("runs: 5", 5), ("runs: 5, pass: 4", 4), ("runs: 2, pass: 4", 2)],
)
def test_all_runs_must_pass_unless_the_case_says_how_many(
    tmp_path: Path, fields: str, needed: int
) -> None:
    assert case(tmp_path, fields).needed == needed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a", "must be a mapping with `cases`"),
        ("cases: []", "is empty"),
        ("cases: [{name: c, expect: {}}, {name: c, expect: {}}]", "has two cases called `c`"),
        ("cases: [{name: c, expect: {matches: '('}}]", "is not a regular expression"),
        ("cases: [{name: c, expect: {that: nothing}}]", "unknown name `nothing`"),
        ("cases: [{name: c, expect: {}, model: openai/x}]", "must be `mock/echo` or a list of"),
        ("cases: [{name: c, expect: {}, model: [{text: a, txt: b}]}]", "is not a valid script"),
        ("cases: [{name: c, expect: {}, tools: {a: {returns: 1, error: b}}}]", "exactly one of"),
        ("cases: [{name: c, expect: {}, runs: 0}]", "1"),
    ],
)
def test_a_problem_is_reported_and_gives_no_suite(tmp_path: Path, text: str, problem: str) -> None:
    suites, problems = read(tmp_path, text)

    assert suites == []
    assert problem in problems[0]


def test_the_committed_schema_is_current() -> None:
    assert (ROOT / "test.schema.json").read_text() == schema_text(json_schema()), (
        "agentd schema test > test.schema.json"
    )
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("text", [*FENCES, *(file.read_text() for file in TESTS)])
def test_every_test_of_the_examples_loads_and_fits_the_schema(tmp_path: Path, text: str) -> None:
    suites, problems = read(tmp_path, text)  # compares with the schema
    assert suites
    assert problems == []


@pytest.mark.parametrize(
    "fields",
    [
        "tools: {a: text, b: 1, c: true, d: null, e: [1], f: {returns: {k: 1}}, g: {error: x}}",
        "tools: {a: {in_turn: [1, two]}}",
        "model: mock/echo, runs: 5, pass: 4, message: {context: {a: 1}}",
        "model: [hi, {tool_calls: [{name: a}]}]",
    ],
)
def test_every_form_of_a_case_fits_the_schema(tmp_path: Path, fields: str) -> None:
    assert case(tmp_path, fields)


@pytest.mark.parametrize(
    "expect",
    [
        "contains: a, matches: b, json: {a: 1}, tool_calls: [a, {name: b, arguments: {c: 1}}]",
        "contains: [a], matches: [b], tool_calls: [], max_turns: 2, max_cost: 1, that: output",
        "error: budget, judge: is kind",
    ],
)
def test_every_form_of_a_condition_fits_the_schema(tmp_path: Path, expect: str) -> None:
    text = f"judge: mock/echo\ncases: [{{name: c, expect: {{{expect}}}}}]"
    assert read(tmp_path, text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "cases: 5",
        "cases: null",
        "cases: []",
        "cases: [{name: c}]",
        "cases: [{name: c, expect: {contians: x}}]",
        "cases: [{name: c, expect: {}, model: openai/x}]",
        "cases: [{name: c, expect: {}, tools: {a: {retruns: 1}}}]",
        "case: []",
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(tmp_path: Path, text: str) -> None:
    suites, problems = read(tmp_path, text)
    assert problems
    assert not suites
    root = reader.read(text, "f").root
    assert root
    assert not Draft202012Validator(json_schema()).is_valid(plain(root))


def test_editors_show_what_every_field_is_for() -> None:
    """They show the description of the field under the pointer."""
    schema = json_schema()
    models = [schema, *(schema["$defs"][name] for name in ("Case", "Expectation", "StandIn"))]
    models.append(schema["$defs"]["ToolCallExpectation"])
    fields = [(name, field) for each in models for name, field in each["properties"].items()]

    assert len(fields) > 20
    assert [name for name, field in fields if not field.get("description")] == []
