"""`command: [git, log, "-n", "{{ count }}"]`: a program with places for what a model says."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.errors import PromptError
from agentd.manifest import tools as manifest_tools
from agentd.problems import Problem
from agentd.tools.port import Call, Tool, ToolError
from agentd.tools.processes.process import Process, how_it_ended
from agentd.tools.processes.processes import Processes

ENVIRONMENT = ("PATH", "HOME", "LANG", "TZ")  # what a program gets of ours
KEY = "idempotency_key"  # what a template calls the call's own key
AT_ONCE = 32  # programs that run in this process's name; more wait for one to end
MOST = 1_000_000  # bytes that a program may write

_TAIL = 2_000  # characters of its errors that are told


@dataclass(frozen=True)
class CommandTool:
    """A program of one manifest."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    takes_key: bool
    _command: manifest_tools.Command
    _spec: AgentSpec
    _processes: Processes
    _room: asyncio.Semaphore

    async def call(self, call: Call) -> Any:
        """What the program writes to its standard output, as text.

        Raises:
            ToolError: it does not start, does not exit with 0, or writes too much.
        """
        values = {**_defaults(self.parameters), **call.arguments, KEY: call.key}
        argv = self._argv(values)
        stdin = self._filled(self._command.stdin, values) if self._command.stdin else ""
        async with self._room:
            return await self._run(argv, stdin)

    async def _run(self, argv: Sequence[str], stdin: str) -> str:
        run = _CommandRun(argv[0])
        try:
            process = await self._processes.start(
                argv,
                run.take,
                env=_environment(self._command),
                cwd=_folder(self._command, self._spec),
            )
        except (OSError, ValueError) as error:
            raise ToolError(f"{argv[0]} cannot be run: {error}") from None
        return await run.answer(process, stdin)

    def _argv(self, values: Mapping[str, Any]) -> list[str]:
        """The program and its arguments: each element of the manifest is one of them, whatever is
        put into it. None becomes an option that the manifest does not have."""
        argv: list[str] = []
        for template in self._command.argv:
            text = self._filled(template, values)
            if text.startswith("-") and not template.startswith("-") and "--" not in argv:
                raise ToolError(f"an argument may not begin with a dash: {text[:100]!r}")
            argv.append(text)
        return argv

    def _filled(self, template: str, values: Mapping[str, Any]) -> str:
        try:
            return self._spec.templates[template].fill(values)
        except PromptError as error:
            raise ToolError(str(error)) from None


class _CommandRun:
    """A program at work, and what it has written so far."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._written: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self._process: Process | None = None
        self._too_much = False

    def take(self, pipe: int, data: bytes) -> None:
        """Keeps what comes, up to what is too much: that ends it."""
        if not self._too_much:
            self._written[pipe] += data
        if sum(map(len, self._written.values())) > MOST:
            self._too_much = True
            if self._process:
                self._process.kill()

    async def answer(self, process: Process, stdin: str) -> str:
        """What it has written when it ends; `stdin` is what it reads."""
        self._process = process
        process.write(stdin.encode(), end=True)
        if self._too_much:
            process.kill()
        try:
            code = await process.ended()
        except asyncio.CancelledError:
            process.kill()
            raise
        if self._too_much:
            raise ToolError(f"{self._program} wrote more than {MOST:,} bytes, and was ended")
        if code != 0:
            complaint = self._text(2).strip()[-_TAIL:] or self._text(1).strip()[-_TAIL:]
            raise ToolError(
                f"{self._program} {how_it_ended(code)}{f': {complaint}' if complaint else ''}"
            )
        return self._text(1)

    def _text(self, pipe: int) -> str:
        return self._written[pipe].decode(errors="replace")


@dataclass(frozen=True)
class CommandSource:
    """The tool of one entry, as long as its program is there."""

    _tool: CommandTool
    _command: manifest_tools.Command
    _spec: AgentSpec

    @property
    def tools(self) -> Sequence[Tool]:
        return () if self.trouble else (self._tool,)

    @property
    def trouble(self) -> str:
        return _lacks(self._command, self._spec)


class CommandTools:
    """All programs that this process's agents can run."""

    def __init__(self) -> None:
        self._processes = Processes()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def check(self, spec: AgentSpec) -> list[Problem]:
        """Warns of what is not here: the agents may be meant for another machine."""
        return [
            spec.problem("tools", index, "command", text=text, severity="warning")
            for index, declared in enumerate(spec.manifest.tools)
            if declared.command and (text := _lacks(declared.command, spec))
        ]

    def open(self, entry: manifest_tools.ToolEntry, spec: AgentSpec) -> CommandSource:
        """The tool of an entry."""
        command = entry.command
        assert command is not None
        texts = [*command.argv, *([command.stdin] if command.stdin else [])]
        names = {name for text in texts for name in spec.templates[text].names}
        tool = CommandTool(
            name=re.sub(r"[^A-Za-z0-9_-]", "_", os.path.basename(command.argv[0]))[:64],
            description=f"Runs `{' '.join(command.argv)}`.",
            parameters=_given(entry.parameters, names - {KEY}),
            takes_key=KEY in names,
            _command=command,
            _spec=spec,
            _processes=self._processes,
            _room=self._room,
        )
        return CommandSource(tool, command, spec)

    async def close(self) -> None:
        """Ends all programs."""
        await self._processes.close()


def _given(parameters: Mapping[str, Any] | None, names: Collection[str]) -> Mapping[str, Any]:
    """The JSON Schema of the arguments: the manifest's, or a text for each name in a template."""
    if parameters is not None:
        return parameters
    texts = {name: {"type": "string"} for name in sorted(names)}
    return {
        "type": "object",
        "properties": texts,
        "required": list(texts),
        "additionalProperties": False,
    }


def _defaults(parameters: Mapping[str, Any]) -> dict[str, Any]:
    fields: Mapping[str, Any] = parameters.get("properties", {})
    return {
        name: field["default"]
        for name, field in fields.items()
        if isinstance(field, Mapping) and "default" in field
    }


def _environment(command: manifest_tools.Command) -> dict[str, str]:
    ours = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return ours | command.env


def _folder(command: manifest_tools.Command, spec: AgentSpec) -> Path:
    return spec.project / (command.cwd or "")


def _lacks(command: manifest_tools.Command, spec: AgentSpec) -> str:
    """Why a program cannot run here; empty if it can."""
    folder = _folder(command, spec)
    if not folder.is_dir():
        return f"there is no folder {folder}"
    path = _environment(command).get("PATH")
    program = command.argv[0]
    if "/" in program:
        program = str(folder / program)
    return "" if shutil.which(program, path=path) else f"there is no program `{program}` here"
