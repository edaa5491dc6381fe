"""The entries under `tools`: their kinds, their short forms, and fields that need one kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.manifest.agent import Manifest
from agentd.manifest.tools import TOOL_KINDS, ToolEntry

Read = Callable[..., Manifest]
ProblemOf = Callable[[str], str]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{htp: {}}", "2:10 unknown field `htp`; did you mean `http`?"),
        (
            "{name: x}",
            "2:10 `tools` needs exactly one of python, command, http, openapi, mcp, agent, ask; ",
        ),
        (
            "{agent: x, python: a.py:f}",
            "2:10 `tools` needs exactly one of python, command, http, openapi, mcp, agent, ask; ",
        ),
        (
            "{python: a.py}",
            "2:18 `tools.python` must be `file.py:function`; for example weather.py:forecast",
        ),
        (
            "{python: ../a.py:f}",
            "2:18 `tools.python` must be `file.py:function`; for example weather.py:forecast",
        ),
        ("{command: []}", "2:10 `tools.command` is empty; name a program"),
        (
            "{command: ['{{ any }}', x]}",
            "2:20 `tools.command` must begin with a program; the model must not choose the program",
        ),
        (
            "{mcp: {command: date}}",
            "2:25 `tools.mcp.command` must be a list; "
            "write [ ] around it, or put each item on a line that begins with `- `",
        ),
        (
            "{python: a.py:f, allow: [x]}",
            "2:10 `tools` has `allow` or `deny` without `mcp` or `openapi`; ",
        ),
        (
            "{http: {url: x}, deny: [x]}",
            "2:10 `tools` has `allow` or `deny` without `mcp` or `openapi`; ",
        ),
        ("{agent: a, env: {A: b}}", "2:10 `tools` has `env` without `python`; "),
        (
            "{command: [a], env: {A: b}}",
            "2:10 `tools` has `env` without `python`; write it inside `command` or `mcp`",
        ),
        ("{python: a.py:f, gather: all}", "2:10 `tools` has `gather` without `agent`; "),
        ("{ask: boss}", "2:15 `tools.ask` must be `person`; "),
        ("{agent: a, default: x}", "2:29 `tools.default` has `default` without `ask`; "),
        (
            "{ask: person, choices: [a, b], default: c}",
            "2:49 `tools.default` is none of the `choices`; add it there",
        ),
        (
            "{ask: person, approval: true}",
            "2:33 `tools.approval` cannot be combined with `ask`; a person answers anyway",
        ),
        (
            "{agent: x, parameters: {}}",
            "2:10 `tools` has `parameters` without `command` or `http`; ",
        ),
        ("{agent: x, approval: 5}", "2:30 `tools.approval` must be true, false or an expression; "),
        (
            "{command: [x], parameters: {type: text}}",
            "2:24 `tools.parameters` is not a valid JSON Schema: "
            "'text' is not valid under any of the given schemas (at ['type']); ",
        ),
        (
            "{command: [x], parameters: {type: array}}",
            "2:24 `tools.parameters` must describe an object; "
            "list the arguments under `properties`",
        ),
    ],
)
def test_an_invalid_entry_is_a_problem(problem_of: ProblemOf, entry: str, problem: str) -> None:
    assert problem_of(f"tools: [{entry}]") == problem


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("{command: [git, log]}", "{command: {argv: [git, log]}}"),
        ("{openapi: pets.yaml}", "{openapi: {document: pets.yaml}}"),
    ],
)
def test_an_entry_has_a_short_form(manifest: Read, short: str, long: str) -> None:
    forms = [manifest(f"capabilities: a\ntools: [{form}]").tools for form in (short, long)]

    assert forms[0] == forms[1]


def test_unknown_arguments_are_refused_unless_the_schema_allows_them() -> None:
    def parameters(**schema: object) -> object:
        return ToolEntry.model_validate({"command": ["x"], "parameters": schema}).parameters

    assert parameters(properties={"n": {}}) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {"n": {}},
    }
    assert parameters(additionalProperties=True) == {"type": "object", "additionalProperties": True}


def test_the_kinds_are_the_first_fields_of_an_entry() -> None:
    assert tuple(ToolEntry.model_fields)[: len(TOOL_KINDS)] == TOOL_KINDS
