"""`python: weather.py:forecast`: functions in the files of `tools/`.

None of their code runs in this process, not even an import. A file that hangs or crashes harms a
worker process, which is replaced.
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
from agentd.tools.processes.pool import REACTION_TIME, ToolFiles, Workers
from agentd.tools.processes.processes import Processes

IMPORT_TIMEOUT = 10.0  # seconds

_REMEMBERED = 256  # descriptions

Description = Mapping[str, Any]  # see `agentd.tools.processes.description.describe`


@dataclass(frozen=True)
class PythonTool:
    """One function; see `agentd.tools.port.Tool`."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    takes_key: bool
    _function: str
    _source: ToolFiles
    _isolate: bool
    _workers: Workers

    async def call(self, call: Call) -> Any:
        """The return value of the function, as JSON data.

        Raises:
            ToolError: it raised an error, returned a value that is too large or cannot be
                written as JSON, or its process ended.
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
    """The tool of one entry; see `agentd.tools.port.ToolSource`."""

    tools: Sequence[Tool]
    trouble: str = ""


class PythonTools:
    """All Python tools of this process."""

    def __init__(
        self, *, import_timeout: float = IMPORT_TIMEOUT, reaction_time: float = REACTION_TIME
    ) -> None:
        self._processes = Processes()
        self._workers = Workers(self._processes, reaction_time=reaction_time)
        self._import_timeout = import_timeout
        self._descriptions: dict[tuple[str, str], Description] = {}
        self._opened: ToolFiles | None = None

    async def check(self, spec: AgentSpec) -> list[Problem]:
        """The problems of the functions that `spec` names. Worker processes import their files, for
        at most `IMPORT_TIMEOUT` seconds each."""
        if not spec.tools:
            return []
        # The new files are not live yet, and may be refused: the workers of the live ones stay.
        self._workers.keep(_source(spec), *([self._opened] if self._opened else []))
        problems: list[Problem] = []
        for index, declared in enumerate(spec.manifest.tools):
            if declared.python:
                source = _source(spec, declared.env)
                description = await self._description(source, declared.python)
                found = description.get("problems", ())
                problems += [_problem(each, spec, index, source) for each in found]
        return problems

    def open(self, entry: manifest_tools.ToolEntry, spec: AgentSpec) -> PythonSource:
        """The tool of an entry in which `check` has found no problem."""
        assert entry.python is not None
        source = _source(spec, entry.env)
        described = self._descriptions.get((source.key, entry.python), {})
        if "description" not in described:
            return PythonSource((), f"{entry.python} was not checked, or has problems")
        self._opened = source
        self._workers.keep(source)
        tool = PythonTool(
            name=entry.own_name,
            description=described["description"],
            parameters=described["parameters"],
            takes_key=described["takes_key"],
            _function=entry.python,
            _source=source,
            _isolate=entry.isolate,
            _workers=self._workers,
        )
        return PythonSource((tool,))

    async def close(self) -> None:
        """Ends all worker processes."""
        await self._processes.close()

    async def _description(self, source: ToolFiles, function: str) -> Description:
        """The description of a function, or its problems. Equal files are not imported again."""
        known = self._descriptions.get((source.key, function))
        if known is None:
            known = await self._describe(source, function)
            self._descriptions[source.key, function] = known
            for oldest in list(self._descriptions)[:-_REMEMBERED]:
                del self._descriptions[oldest]
        return known

    async def _describe(self, source: ToolFiles, function: str) -> Description:
        file = function.partition(":")[0]
        try:
            async with (
                asyncio.timeout(self._import_timeout),
                self._workers.alone(source) as worker,
            ):
                return (await worker.ask(describe=function))["answer"]
        except TimeoutError:
            text = f"importing {file} takes more than {self._import_timeout:g} s"
            hint = "do slow work when the function is called, not at import"
            return {"problems": [{"text": text, "hint": hint}]}
        except ToolError as error:
            return {"problems": [{"text": f"{file} cannot be imported: {error}", "hint": ""}]}


def _source(spec: AgentSpec, env: Mapping[str, str] | None = None) -> ToolFiles:
    return ToolFiles.of(spec.project / "tools", spec.tools, env or {})


def _problem(found: Mapping[str, Any], spec: AgentSpec, index: int, source: ToolFiles) -> Problem:
    """A problem at its place in the file; if it has none, at the entry of the manifest."""
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
