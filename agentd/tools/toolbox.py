"""The tools of one agent: only what its manifest declares can run, and only within bounds."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentd.errors import BusError
from agentd.manifest import tools
from agentd.manifest.json_schema import value_error
from agentd.models.port import ToolCall
from agentd.tools.port import Call, Emitted, Emitting, Preparing, Tool, ToolError, ToolSource

log = logging.getLogger(__name__)

TIMEOUT = 30.0  # seconds for a call, where the manifest does not say
MOST_SHOWN = 32_000  # characters of an answer that a model is shown
_LOGGED = 300  # characters of an error


@dataclass(frozen=True)
class ToolAnswer:
    """What the model receives for a call.

    Attributes:
        text: the answer, or the reason why there is none.
        error: the call failed, and `text` is the reason.
        emitted: the messages that the call asked for.
    """

    text: str
    error: bool = False
    emitted: tuple[Emitted, ...] = ()


@dataclass(frozen=True)
class ToolboxEntry:
    """An entry under `tools:` with what it gives."""

    declared: tools.ToolEntry
    source: ToolSource


@dataclass(frozen=True)
class Held:
    """A tool as this agent may use it."""

    name: str
    tool: Tool
    declared: tools.ToolEntry

    @property
    def timeout(self) -> float:
        """Seconds for a call; an agent has all the time of the task that asks it."""
        longest = math.inf if self.declared.agent else TIMEOUT
        return self.declared.timeout or longest

    @property
    def schema(self) -> dict[str, Any]:
        """As a model is told of it, in OpenAI's shape."""
        function = {
            "name": self.name,
            "description": self.declared.description or self.tool.description,
            "parameters": self.tool.parameters,
        }
        return {"type": "function", "function": function}

    def arguments(self, text: str) -> Mapping[str, Any]:
        """What the model wrote, if it fits the tool.

        Raises:
            ToolError: it does not; the text is for the model.
        """
        try:
            given = json.loads(text or "{}")
        except (ValueError, RecursionError) as error:
            raise ToolError(f"the arguments of {self.name} are not JSON: {error}") from None
        mistake = value_error(given, self.tool.parameters)
        if mistake:
            raise ToolError(f"the arguments of {self.name} do not fit its schema: {mistake}")
        if not isinstance(given, dict):
            raise ToolError(f"the arguments of {self.name} must be an object")
        return given


class Toolbox:
    """What an agent of one revision can call."""

    def __init__(self, entries: Sequence[ToolboxEntry] = ()) -> None:
        self._entries = tuple(entries)

    @property
    def held(self) -> dict[str, Held]:
        """The tools of this moment by the names that the model calls them; of two with one name
        the first."""
        found: dict[str, Held] = {}
        for entry in self._entries:
            for tool in entry.source.tools:
                held = _held(tool, entry.declared)
                if held and found.setdefault(held.name, held).tool is not tool:
                    log.warning("two tools are called %s; the first one counts", held.name)
        return found

    async def prepare(self) -> dict[str, str]:
        """To be awaited before a run: what its tools give for the prompt, by name.

        Raises:
            TaskError: something that the prompt needs is not to be had.
        """
        sources = [e.source for e in self._entries if isinstance(e.source, Preparing)]
        given = await asyncio.gather(*(source.prepare() for source in sources))
        return {name: text for texts in given for name, text in texts.items()}

    @property
    def missing(self) -> tuple[str, ...]:
        """Why tools are not there without which the agent is not ready."""
        return tuple(
            entry.source.trouble
            for entry in self._entries
            if entry.declared.required and entry.source.trouble
        )

    async def call(self, call: ToolCall, request: Call) -> ToolAnswer:
        """Runs one call within its time and the request's; what goes wrong with it is the answer.

        The request has all but the arguments, which are checked here.

        Raises:
            BusError: NATS is out of reach; the task is to be delivered again.
        """
        answer = await self._answer(call, request)
        if answer.error:
            said = (request.task.id[:8], call.name[:100], answer.text[:_LOGGED])
            log.info("%s %s: %s", *said, extra={"agent": request.agent})
        return answer

    def recorded(self, call: ToolCall, text: str, *, error: bool) -> ToolAnswer:
        """The answer to a call that was made before the run was interrupted.

        The journal has the text of the answer. The messages that the call asked for are worked out
        again from its arguments.
        """
        held = self.held.get(call.name)
        if error or held is None:
            return ToolAnswer(text, error)
        return ToolAnswer(text, emitted=emitted_by(held.tool, json.loads(call.arguments or "{}")))

    async def _answer(self, call: ToolCall, request: Call) -> ToolAnswer:
        wanted = self.held.get(call.name)
        if wanted is None:
            return ToolAnswer(self._there_is_no(call.name), error=True)
        timeout = min(request.timeout, wanted.timeout)
        try:
            arguments = wanted.arguments(call.arguments)
            request = replace(request, arguments=arguments, timeout=timeout)
            async with asyncio.timeout(timeout):
                text = shown(await wanted.tool.call(request))
            return ToolAnswer(text, emitted=emitted_by(wanted.tool, arguments))
        except ToolError as error:
            return ToolAnswer(shown(str(error)), error=True)
        except TimeoutError:
            return ToolAnswer(f"{call.name} gave no answer within {timeout:g} s", error=True)
        except BusError:
            raise
        except Exception as error:
            log.exception("a bug in the tool %s", call.name, extra={"agent": request.agent})
            return ToolAnswer(shown(f"{type(error).__name__}: {error}"), error=True)

    def _there_is_no(self, name: str) -> str:
        there = ", ".join(sorted(self.held)) or "none at all"
        missing = "".join(f"\n{e.source.trouble}" for e in self._entries if e.source.trouble)
        return f"there is no tool {name[:100]!r}; there are: {there}{missing}"


def emitted_by(tool: Tool, arguments: Mapping[str, Any]) -> tuple[Emitted, ...]:
    """The messages that an accepted call of a tool asks for; most tools ask for none."""
    return tuple(tool.emitted(arguments)) if isinstance(tool, Emitting) else ()


def shown(answer: Any) -> str:
    """An answer as text, cut to what a model is shown."""
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    if len(text) <= MOST_SHOWN:
        return text
    return f"{text[:MOST_SHOWN]}\n[cut: {len(text):,} characters in all]"


def _held(tool: Tool, declared: tools.ToolEntry) -> Held | None:
    """The tool under the name that the manifest gives it, if it allows it at all."""
    if declared.allow is not None and tool.name not in declared.allow:
        return None
    if declared.deny is not None and tool.name in declared.deny:
        return None
    if declared.name is None:
        return Held(tool.name, tool, declared)
    several = declared.mcp is not None or declared.openapi is not None
    return Held(f"{declared.name}_{tool.name}" if several else declared.name, tool, declared)
