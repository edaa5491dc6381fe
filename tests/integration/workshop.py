"""A place for tests of tools: manifests and tool files in a folder, opened without an agent."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from agentd.catalog.catalog import load
from agentd.catalog.spec import AgentSpec
from agentd.models.port import ToolCall
from agentd.problems import Problem, errors
from agentd.protocol.message import AgentIdentity, new
from agentd.tools.command_tool import CommandTools
from agentd.tools.port import Call
from agentd.tools.python_tool import PythonTools
from agentd.tools.toolbox import ToolAnswer, Toolbox, ToolboxEntry
from tests.waiting import until

TASK = new("task", "Work.", source=AgentIdentity(id="tester"))


class Workshop:
    """A folder with a manifest and tool files, and the openers for its tools."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = PythonTools(import_timeout=20, reaction_time=0.5)
        self.commands = CommandTools()

    def write(self, **files: str) -> None:
        """Writes files into `tools/`."""
        (self.folder / "tools").mkdir(exist_ok=True)
        for name, text in files.items():
            (self.folder / "tools" / f"{name}.py").write_text(dedent(text))

    def spec(self, *tools: Mapping[str, Any]) -> AgentSpec:
        """An agent with these entries under `tools:`."""
        catalog = self._load(tools)
        assert not errors(catalog.problems), "\n".join(p.render() for p in catalog.problems)
        return catalog.agents["one"]

    def refusal(self, *tools: Mapping[str, Any]) -> str:
        """The errors of the catalog for these entries."""
        return "\n".join(problem.render() for problem in errors(self._load(tools).problems))

    def _load(self, tools: tuple[Mapping[str, Any], ...]) -> Any:
        (self.folder / "manifests").mkdir(exist_ok=True)
        manifest = {"capabilities": ["one"], "instructions": "Hi.", "tools": tools}
        (self.folder / "manifests" / "one.yaml").write_text(json.dumps(manifest))
        return load(self.folder / "manifests")

    async def problems(self, *tools: Mapping[str, Any]) -> list[Problem]:
        """The problems that the openers find."""
        spec = self.spec(*tools)
        return [*await self.python.check(spec), *await self.commands.check(spec)]

    async def open(self, *tools: Mapping[str, Any]) -> Toolbox:
        """A toolbox with these tools, which must have no problems."""
        spec = self.spec(*tools)
        problems = [*await self.python.check(spec), *await self.commands.check(spec)]
        assert not problems, "\n".join(p.render() for p in problems)
        entries = [
            ToolboxEntry(tool, (self.python if tool.python else self.commands).open(tool, spec))
            for tool in spec.manifest.tools
        ]
        return Toolbox(entries)

    async def close(self) -> None:
        await self.python.close()
        await self.commands.close()


async def call(
    toolbox: Toolbox, name: str, *, timeout: float = 20, key: str = "", **arguments: Any
) -> ToolAnswer:
    """The answer to one call, as the model receives it."""
    wanted = ToolCall(id="1", name=name, arguments=json.dumps(arguments))
    request = Call(arguments={}, key=key, timeout=timeout, task=TASK, agent="one", money=_no_money)
    return await toolbox.call(wanted, request)


async def _no_money() -> float:
    return 0.0


@asynccontextmanager
async def quick_loop() -> AsyncGenerator[None]:
    """Fails if the event loop is blocked by its own work for 0.25 s, or by anything for 5 s.

    Work is measured in CPU time: a busy machine does not make the test fail.
    """
    worked = waited = 0.0

    async def tick() -> None:
        nonlocal worked, waited
        while True:
            wall, cpu = time.monotonic(), time.thread_time()
            await asyncio.sleep(0.01)
            waited = max(waited, time.monotonic() - wall)
            worked = max(worked, time.thread_time() - cpu)

    ticking = asyncio.create_task(tick())
    yield
    ticking.cancel()
    assert worked < 0.25
    assert waited < 5


def pids_in(file: Path) -> list[int]:
    """The process ids in a file; none until the file ends with a dot, when it is complete."""
    text = file.read_text().strip() if file.exists() else ""
    return [int(pid) for pid in text.split()[:-1]] if text.endswith(".") else []


async def gone(*pids: int) -> None:
    """Waits until none of these processes runs."""
    await until(lambda: not any(map(_runs, pids)))


def _runs(pid: int) -> bool:
    """Whether a process runs. A zombie does not: its parent is killed, and the init of a container
    may not collect it."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
