"""Opens the tools that a manifest declares, by their kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

from agentd.catalog.spec import AgentSpec
from agentd.manifest import tools
from agentd.nats.bus import Bus
from agentd.problems import Problem, errors
from agentd.protocol.subjects import Subjects
from agentd.tools.agent_tool import AgentTools
from agentd.tools.arguments import problems_of_call
from agentd.tools.ask_tool import AskTools
from agentd.tools.command_tool import CommandTools
from agentd.tools.emit_tool import EmitSource
from agentd.tools.http_tool import HttpTools
from agentd.tools.mcp_tool import McpServers
from agentd.tools.openapi_tool import OpenApiTools
from agentd.tools.port import ToolSource
from agentd.tools.python_tool import PythonTools
from agentd.tools.toolbox import Toolbox, ToolboxEntry
from agentd.tools.web.fetch import Web


class Opener(Protocol):
    """All tools of one kind in this process."""

    def open(self, entry: tools.ToolEntry, spec: AgentSpec) -> ToolSource:
        """The tools of an entry. It does not wait for a connection or a process."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Checker(Protocol):
    """An opener that can find problems that the catalog cannot, such as a missing program."""

    async def check(self, spec: AgentSpec) -> list[Problem]:
        """The problems of its tools of this agent. A repeated check is quick."""
        ...


class Tools:
    """All tools of this process, by kind."""

    def __init__(self, openers: Mapping[str, Opener]) -> None:
        self._openers = openers

    async def check(self, spec: AgentSpec) -> list[Problem]:
        """The problems of the tools of an agent that can be found before a call."""
        openers = [opener for opener in self._openers.values() if isinstance(opener, Checker)]
        found = [problem for opener in openers for problem in await opener.check(spec)]
        # A tool with problems of its own has no parameters to compare with.
        return found if errors(found) else [*found, *self._of_call(spec)]

    def _of_call(self, spec: AgentSpec) -> Iterator[Problem]:
        """The problems of `call`. The tools of a server or a document may not be known yet."""
        call = spec.manifest.call
        for entry in spec.manifest.tools if call else ():
            if entry.kind in ("mcp", "openapi") or entry.kind not in self._openers:
                continue
            box = Toolbox([ToolboxEntry(entry, self._openers[entry.kind].open(entry, spec))])
            if call and (tool := box.tools.get(call.tool)):
                yield from problems_of_call(spec, tool)

    def open(self, spec: AgentSpec) -> Toolbox:
        """The toolbox of an agent."""
        entries: list[ToolboxEntry] = []
        if spec.manifest.emit.allow:
            # It is not declared under `tools:`, so it has an entry with all defaults.
            plain = tools.ToolEntry.model_construct()
            entries.append(ToolboxEntry(plain, EmitSource(spec.manifest.emit)))
        entries += [
            ToolboxEntry(declared, self._openers[declared.kind].open(declared, spec))
            for declared in spec.manifest.tools
        ]
        return Toolbox(entries)

    async def close(self) -> None:
        """Ends all processes and connections."""
        for opener in self._openers.values():
            await opener.close()


def every_kind(bus: Bus, subjects: Subjects) -> Tools:
    """The tools of one process. Nothing starts or connects before an agent needs it."""
    return Tools({**_without_bus(), "agent": AgentTools(bus, subjects)})


def for_checks() -> Tools:
    """The tools of a process that only checks manifests; there is no `agent` among them."""
    return Tools(_without_bus())


def _without_bus() -> dict[str, Opener]:
    web = Web()  # shared, so that `http:` and `openapi:` reuse connections
    return {
        "ask": AskTools(),
        "python": PythonTools(),
        "command": CommandTools(),
        "http": HttpTools(web),
        "openapi": OpenApiTools(web),
        "mcp": McpServers(),
    }
