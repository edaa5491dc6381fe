"""`command:` tools before a program starts: schema, arguments, missing programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.catalog.catalog import load
from agentd.catalog.spec import AgentSpec
from agentd.protocol.message import AgentIdentity, new
from agentd.tools.command_tool import CommandTools
from agentd.tools.port import Call, Tool, ToolError

TASK = new("task", "Work.", source=AgentIdentity(id="tester"))


async def no_money() -> float:
    return 0.0


def call(**arguments: Any) -> Call:
    return Call(arguments=arguments, key="k", timeout=5, task=TASK, agent="a", money=no_money)


def spec(folder: Path, **entry: Any) -> AgentSpec:
    (folder / "manifests").mkdir()
    manifest = {"capabilities": ["x"], "instructions": "Hi.", "tools": [entry]}
    (folder / "manifests" / "one.yaml").write_text(json.dumps(manifest))
    return load(folder / "manifests", environ={}).agents["one"]


def opened(folder: Path, **entry: Any) -> Tool:
    found = spec(folder, **entry)
    [tool] = CommandTools().open(found.manifest.tools[0], found).tools
    return tool


def test_the_schema_has_a_string_for_each_name(tmp_path: Path) -> None:
    command = {"argv": ["sh", "-c", "{{ a }} {{ b }}"], "stdin": "{{ c }}{{ idempotency_key }}"}
    tool = opened(tmp_path, command=command)

    assert tool.parameters == {
        "type": "object",
        "properties": {name: {"type": "string"} for name in "abc"},
        "required": ["a", "b", "c"],
        "additionalProperties": False,
    }
    assert tool.takes_key
    assert tool.name == "sh"
    assert tool.description == "Runs `sh -c {{ a }} {{ b }}`."


def test_a_declared_schema_is_used_as_it_is(tmp_path: Path) -> None:
    parameters = {"properties": {"a": {"type": "integer"}}}
    tool = opened(tmp_path, command=["sh", "{{ a }}"], parameters=parameters)

    assert tool.parameters["properties"] == {"a": {"type": "integer"}}
    assert not tool.takes_key


@pytest.mark.parametrize("value", ["-rf", "--output=/x", "-"])
async def test_a_value_cannot_become_an_option(tmp_path: Path, value: str) -> None:
    tool = opened(tmp_path, command=["ls", "{{ a }}"])

    with pytest.raises(ToolError, match=r"must not begin with a dash: '-.*; for a file write \./"):
        await tool.call(call(a=value))


async def test_a_template_that_fails_is_an_error(tmp_path: Path) -> None:
    tool = opened(tmp_path, command=["ls", "{{ 1 / a }}"], parameters={"properties": {"a": {}}})

    with pytest.raises(ToolError, match="division by zero"):
        await tool.call(call(a=0))


async def test_a_missing_program_is_a_warning_and_no_tool(tmp_path: Path) -> None:
    found = spec(tmp_path, command=["no-such-program"])

    [problem] = await CommandTools().check(found)
    source = CommandTools().open(found.manifest.tools[0], found)

    assert (problem.severity, problem.text) == (
        "warning",
        "there is no program `no-such-program` here",
    )
    assert source.trouble == problem.text
    assert source.tools == ()
