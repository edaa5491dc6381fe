"""`command: [git, log, "-n", "{{ count }}"]`: a program whose arguments a model fills in.

No shell is involved: a value stays one argument, whatever is in it.
"""

from __future__ import annotations

import asyncio
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
from agentd.tools.processes.environment import environment
from agentd.tools.processes.process import Process, how_it_ended
from agentd.tools.processes.processes import Processes

KEY = "idempotency_key"  # the name of `Call.key` in templates
AT_ONCE = 32  # programs that run at one time; more calls wait
MAX_OUTPUT = 1_000_000  # bytes that a program may write to stdout and stderr together

_TAIL = 2_000  # characters of its stderr that the model receives


@dataclass(frozen=True)
class CommandTool:
    """A program of one manifest; see `agentd.tools.port.Tool`."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    takes_key: bool
    _command: manifest_tools.Command
    _spec: AgentSpec
    _processes: Processes
    _room: asyncio.Semaphore

    async def call(self, call: Call) -> Any:
        """The standard output of the program, as text.

        Raises:
            ToolError: it cannot be started, exits with another code than 0, or writes too much.
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
                env=environment(self._command.env),
                cwd=_folder(self._command, self._spec),
            )
        except (OSError, ValueError) as error:
            raise ToolError(f"{argv[0]} cannot be started: {error}") from None
        return await run.answer(process, stdin)

    def _argv(self, values: Mapping[str, Any]) -> list[str]:
        """The program and its arguments. Each element of the manifest stays one argument.

        Raises:
            ToolError: a value would become an option that the manifest does not have.
        """
        argv: list[str] = []
        for template in self._command.argv:
            text = self._filled(template, values)
            if text.startswith("-") and not template.startswith("-") and "--" not in argv:
                raise ToolError(
                    f"an argument must not begin with a dash: {text[:100]!r}; for a file write ./"
                )
            argv.append(text)
        return argv

    def _filled(self, template: str, values: Mapping[str, Any]) -> str:
        try:
            return self._spec.templates[template].fill(values)
        except PromptError as error:
            raise ToolError(str(error)) from None


class _CommandRun:
    """A running program, and its output so far."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._written: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self._process: Process | None = None
        self._too_much = False

    def take(self, pipe: int, data: bytes) -> None:
        """Keeps output up to the limit. Beyond it the program is killed."""
        if not self._too_much:
            self._written[pipe] += data
        if sum(map(len, self._written.values())) > MAX_OUTPUT:
            self._too_much = True
            if self._process:  # output can come before `answer` is called
                self._process.kill()

    async def answer(self, process: Process, stdin: str) -> str:
        """Writes `stdin` to it and waits for its end; its standard output."""
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
            raise ToolError(
                f"{self._program} wrote more than {MAX_OUTPUT:,} bytes and was killed; ask for less"
            )
        if code != 0:
            # Some programs write their errors to stdout.
            reason = self._text(2).strip()[-_TAIL:] or self._text(1).strip()[-_TAIL:]
            raise ToolError(
                f"{self._program} {how_it_ended(code)}{f': {reason}' if reason else ''}"
            )
        return self._text(1)

    def _text(self, pipe: int) -> str:
        return self._written[pipe].decode(errors="replace")


@dataclass(frozen=True)
class CommandSource:
    """The tool of one entry, while its program is installed; see `agentd.tools.port.ToolSource`."""

    _tool: CommandTool
    _command: manifest_tools.Command
    _spec: AgentSpec

    @property
    def tools(self) -> Sequence[Tool]:
        return () if self.trouble else (self._tool,)

    @property
    def trouble(self) -> str:
        return _missing(self._command, self._spec)


class CommandTools:
    """All `command:` tools of this process."""

    def __init__(self) -> None:
        self._processes = Processes()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def check(self, spec: AgentSpec) -> list[Problem]:
        """Warns of programs and folders that are missing. It is no error: the agents may be meant
        for another machine."""
        return [
            spec.problem("tools", index, "command", text=text, severity="warning")
            for index, declared in enumerate(spec.manifest.tools)
            if declared.command and (text := _missing(declared.command, spec))
        ]

    def open(self, entry: manifest_tools.ToolEntry, spec: AgentSpec) -> CommandSource:
        """The tool of an entry."""
        command = entry.command
        assert command is not None
        texts = [*command.argv, *([command.stdin] if command.stdin else [])]
        names = {name for text in texts for name in spec.templates[text].names}
        tool = CommandTool(
            name=entry.own_name,
            description=f"Runs `{' '.join(command.argv)}`.",
            parameters=_schema(entry.parameters, names - {KEY}),
            takes_key=KEY in names,
            _command=command,
            _spec=spec,
            _processes=self._processes,
            _room=self._room,
        )
        return CommandSource(tool, command, spec)

    async def close(self) -> None:
        """Kills all running programs."""
        await self._processes.close()


def _schema(parameters: Mapping[str, Any] | None, names: Collection[str]) -> Mapping[str, Any]:
    """The JSON Schema of the arguments: the manifest's, or else a string for each name in a
    template."""
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


def _folder(command: manifest_tools.Command, spec: AgentSpec) -> Path:
    return spec.project / (command.cwd or "")


def _missing(command: manifest_tools.Command, spec: AgentSpec) -> str:
    """Why a program cannot run on this machine; empty if it can."""
    folder = _folder(command, spec)
    if not folder.is_dir():
        return f"there is no folder {folder}"
    path = environment(command.env).get("PATH")
    program = command.argv[0]
    if "/" in program:
        program = str(folder / program)
    return "" if shutil.which(program, path=path) else f"there is no program `{program}` here"
