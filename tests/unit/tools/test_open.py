"""Tools by kind: which opener gets an entry, and what is checked and closed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentd.catalog.catalog import load
from agentd.catalog.spec import AgentSpec
from agentd.manifest.tools import ToolEntry
from agentd.problems import Problem
from agentd.tools.open import Opener, Tools
from agentd.tools.port import Call, Tool, ToolSource


class FakeTool:
    takes_key, description = False, "A tool."
    parameters: Mapping[str, Any] = {"type": "object"}

    def __init__(self, name: str) -> None:
        self.name = name

    async def call(self, call: Call) -> Any:
        return self.name


class FakeSource:
    trouble = ""

    def __init__(self, name: str) -> None:
        self.tools: tuple[Tool, ...] = (FakeTool(name),)


class FakeOpener:
    """Opens entries of one kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.closed = False

    def open(self, entry: ToolEntry, spec: AgentSpec) -> ToolSource:
        return FakeSource(f"{self.kind}_{getattr(entry, self.kind)}_of_{spec.name}")

    async def close(self) -> None:
        self.closed = True


class Checking(FakeOpener):
    async def check(self, spec: AgentSpec) -> list[Problem]:
        return [Problem(file=spec.name, text=f"a problem of {self.kind}")]


def spec(folder: Path, **fields: Any) -> AgentSpec:
    for name in ("manifests", "tools"):
        (folder / name).mkdir()
    (folder / "tools" / "f.py").write_text("def f() -> None: ...\n")
    manifest = {"capabilities": ["x"], "instructions": "Hi.", **fields}
    (folder / "manifests" / "one.yaml").write_text(json.dumps(manifest))
    return load(folder / "manifests", environ={}).agents["one"]


def openers(*found: FakeOpener) -> dict[str, Opener]:
    return {opener.kind: opener for opener in found}


def test_each_entry_is_opened_by_its_kind(tmp_path: Path) -> None:
    tools = Tools(openers(FakeOpener("python"), FakeOpener("agent")))
    one = spec(tmp_path, tools=[{"agent": "two"}, {"python": "f.py:f"}])

    toolbox = tools.open(one)

    assert list(toolbox.tools) == ["agent_two_of_one", "python_f.py:f_of_one"]


def test_emit_is_a_tool_only_if_the_manifest_allows_it(tmp_path: Path) -> None:
    tools = Tools(openers(FakeOpener("agent")))
    one = spec(tmp_path, tools=[{"agent": "two"}], emit={"allow": ["task.work.*"]})

    assert list(tools.open(one).tools) == ["emit", "agent_two_of_one"]
    assert not tools.open(one).tools["emit"].entry.effects


async def test_only_openers_that_can_check_are_asked(tmp_path: Path) -> None:
    tools = Tools(openers(FakeOpener("agent"), Checking("python"), Checking("mcp")))

    problems = await tools.check(spec(tmp_path))

    assert [problem.text for problem in problems] == ["a problem of python", "a problem of mcp"]


async def test_close_closes_all() -> None:
    found = [FakeOpener("agent"), Checking("python")]

    await Tools(openers(*found)).close()

    assert all(opener.closed for opener in found)
