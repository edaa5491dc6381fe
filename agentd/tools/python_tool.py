"""`python: weather.py:forecast`: functions in the files of `tools/`.

None of their code runs in this process: a file that hangs, crashes or eats the processor when it is
imported or called harms a process beside it, which is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.manifest import tools as manifest_tools
from agentd.manifest.files import display_path
from agentd.problems import Problem
from agentd.tools.port import Call, Tool, ToolError
from agentd.tools.processes.pool import BREATH, ToolFiles, Workers
from agentd.tools.processes.processes import Processes

IMPORT_TIMEOUT = 10.0  # seconds

_REMEMBERED = 256  # functions that are not looked at again

Looked = Mapping[str, Any]  # what `agentd.tools.processes.description.describe` says


@dataclass(frozen=True)
class PythonTool:
    """A function."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    takes_key: bool
    _function: str
    _source: ToolFiles
    _isolate: bool
    _workers: Workers

    async def call(self, call: Call) -> Any:
        """What the function returns, as JSON has it.

        Raises:
            ToolError: it raised, returned what is too large or no data, or died.
        """
        place = self._workers.alone if self._isolate else self._workers.shared
        async with place(self._source) as worker:
            answer = await worker.ask(
                call=self._function, arguments=dict(call.arguments), key=call.key
            )
        if "error" in answer:
            raise ToolError(answer["error"])
        return answer["answer"]


@dataclass(frozen=True)
class PythonSource:
    """The tool of one entry; none while there is trouble."""

    tools: Sequence[Tool]
    trouble: str = ""


class PythonTools:
    """All functions of this process's agents."""

    def __init__(self, *, import_timeout: float = IMPORT_TIMEOUT, breath: float = BREATH) -> None:
        self._processes = Processes()
        self._workers = Workers(self._processes, breath=breath)
        self._import_timeout = import_timeout
        self._looked: dict[tuple[str, str], Looked] = {}
        self._opened: ToolFiles | None = None

    async def check(self, spec: AgentSpec) -> list[Problem]:
        """What is wrong with the functions that `spec` names. It imports their files, in a process
        of their own, for at most `IMPORT_TIMEOUT` seconds each."""
        if not spec.tools:
            return []
        source = _source(spec)
        self._workers.keep(source, *([self._opened] if self._opened else []))
        problems: list[Problem] = []
        for index, declared in enumerate(spec.manifest.tools):
            if declared.python:
                looked = await self._look(source, declared.python)
                found = looked.get("problems", ())
                problems += [_problem(each, spec, index, source) for each in found]
        return problems

    def open(self, entry: manifest_tools.ToolEntry, spec: AgentSpec) -> PythonSource:
        """The tool of an entry that `check` has found nothing wrong with."""
        assert entry.python is not None
        source = _source(spec)
        looked = self._looked.get((source.digest, entry.python), {})
        if "description" not in looked:
            return PythonSource((), f"{entry.python} was not looked at, or has mistakes")
        self._opened = source
        self._workers.keep(source)
        tool = PythonTool(
            name=entry.python.partition(":")[2],
            description=looked["description"],
            parameters=looked["parameters"],
            takes_key=looked["takes_key"],
            _function=entry.python,
            _source=source,
            _isolate=entry.isolate,
            _workers=self._workers,
        )
        return PythonSource((tool,))

    async def close(self) -> None:
        """Ends all processes."""
        await self._processes.close()

    async def _look(self, source: ToolFiles, function: str) -> Looked:
        """The description of a function, or its problems."""
        known = self._looked.get((source.digest, function))
        if known is None:
            known = await self._describe(source, function)
            self._looked[source.digest, function] = known
            for oldest in list(self._looked)[:-_REMEMBERED]:
                del self._looked[oldest]
        return known

    async def _describe(self, source: ToolFiles, function: str) -> Looked:
        file = function.partition(":")[0]
        try:
            async with (
                asyncio.timeout(self._import_timeout),
                self._workers.alone(source) as worker,
            ):
                return (await worker.ask(describe=function))["answer"]
        except TimeoutError:
            text = f"{file} takes more than {self._import_timeout:g} s to be imported"
            return {"problems": [{"text": text, "hint": "load what is slow when it is needed"}]}
        except ToolError as error:
            return {"problems": [{"text": f"{file} cannot be imported: {error}", "hint": ""}]}


def _source(spec: AgentSpec) -> ToolFiles:
    return ToolFiles.of(spec.project / "tools", spec.tools)


def _problem(found: Mapping[str, Any], spec: AgentSpec, index: int, source: ToolFiles) -> Problem:
    """What the process found, at its place in the file, or at the entry that names the function."""
    if "file" not in found:
        problem = spec.problem("tools", index, "python", text=found["text"])
        return Problem(**{**vars(problem), "hint": found["hint"]})
    lines = source.files[found["file"]].decode(errors="replace").splitlines()
    number = found["line"]
    return Problem(
        file=display_path(source.folder / Path(found["file"])),
        line=number,
        column=found.get("column", 0),
        width=len(found.get("word", "x")),
        source=lines[number - 1] if number <= len(lines) else "",
        text=found["text"],
        hint=found["hint"],
    )
