"""A `*.test.yaml` file is read as written, or every problem in it has a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.testing.cases.case import Case, Suite, read_suites


def read(folder: Path, text: str, name: str = "me.test.yaml") -> tuple[list[Suite], list[str]]:
    (folder / name).write_text(text)
    suites, problems = read_suites(folder)
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
