"""The tools of one agent: it runs only declared tools, within their limits."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentd.errors import BusError
from agentd.manifest.json_schema.check import value_error
from agentd.manifest.tools import ToolEntry
from agentd.models.port import ToolCall
from agentd.models.wire.tool_names import fitting
from agentd.protocol.message import short_id
from agentd.tools.port import Call, Emitted, Emitting, Preparing, Tool, ToolError, ToolSource
from agentd.tools.tool_schema import for_model

log = logging.getLogger(__name__)

TIMEOUT = 30.0  # seconds for a call, unless the manifest has a `timeout`
MOST_SHOWN = 32_000  # characters of an answer that the model receives
_LOGGED = 300  # characters of an error


@dataclass(frozen=True)
class ToolAnswer:
    """What the model receives for a call.

    Attributes:
        text: the answer, or the reason why there is none.
        error: the call failed, and `text` is the reason.
        emitted: the messages that the call asked for.
        final: the same call would fail again, or must not be made again.
        cut: the text is only the beginning of the answer.
    """

    text: str
    error: bool = False
    emitted: tuple[Emitted, ...] = ()
    final: bool = False
    cut: bool = False


@dataclass(frozen=True)
class ToolboxEntry:
    """An entry under `tools:`, and the source of its tools."""

    declared: ToolEntry
    source: ToolSource


@dataclass(frozen=True)
class DeclaredTool:
    """A tool with the name, the description and the limits that the manifest gives it."""

    name: str
    tool: Tool
    entry: ToolEntry

    @property
    def timeout(self) -> float:
        """Seconds for a call. Another agent may take all the time that the task has left."""
        longest = math.inf if self.entry.agent else TIMEOUT
        return self.entry.timeout or longest

    @property
    def schema(self) -> dict[str, Any]:
        """The tool for the model, in the format of OpenAI's chat completions."""
        function = {
            "name": self.name,
            "description": self.entry.description or self.tool.description,
            "parameters": for_model(self.tool.parameters),
        }
        return {"type": "function", "function": function}

    async def arguments(self, text: str) -> Mapping[str, Any]:
        """The arguments in the text that the model wrote.

        Raises:
            ToolError: they do not fit the tool.
        """
        try:
            given = json.loads(text or "{}")
        except (ValueError, RecursionError) as error:
            raise ToolError(
                f"the arguments of {self.name} are not valid JSON: {error}; write a JSON object",
                final=True,
            ) from None
        problem = await value_error(given, self.tool.parameters)
        if problem:
            text = f"the arguments of {self.name} do not fit its schema: {problem}"
            raise ToolError(text, final=True)
        if not isinstance(given, dict):
            raise ToolError(f"the arguments of {self.name} must be a JSON object", final=True)
        return given


class Toolbox:
    """The tools of one revision of an agent. Without `entries` it never has any."""

    def __init__(self, entries: Sequence[ToolboxEntry] = ()) -> None:
        self.entries = tuple(entries)

    @property
    def tools(self) -> dict[str, DeclaredTool]:
        """The tools at this moment, by their names for the model. Of two with the same name the
        first counts."""
        found: dict[str, DeclaredTool] = {}
        for entry in self.entries:
            for tool in entry.source.tools:
                declared = _declared(tool, entry.declared)
                if declared and found.setdefault(declared.name, declared).tool is not tool:
                    log.warning("two tools have the name %s; the first is used", declared.name)
        return found

    @property
    def schemas(self) -> tuple[Mapping[str, Any], ...]:
        """The tools as a model is shown them."""
        return tuple(tool.schema for tool in self.tools.values())

    async def prepare(self) -> dict[str, str]:
        """Must be awaited before a run. Returns the texts of its tools for the prompt, by name.

        Raises:
            TaskError: a text that the prompt needs cannot be read.
        """
        sources = [e.source for e in self.entries if isinstance(e.source, Preparing)]
        given = await asyncio.gather(*(source.prepare() for source in sources))
        return {name: text for texts in given for name, text in texts.items()}

    @property
    def missing(self) -> tuple[str, ...]:
        """Why required tools are missing. Until they are there, the agent takes no tasks."""
        return tuple(
            entry.source.trouble
            for entry in self.entries
            if entry.declared.required and entry.source.trouble
        )

    async def call(self, call: ToolCall, request: Call, *, longest: int = MOST_SHOWN) -> ToolAnswer:
        """Runs one call. If it fails, the answer is the error. An answer of more than `longest`
        characters is cut.

        The call has the shorter of two timeouts, the tool's and the request's. The arguments are
        checked here; those of the request are ignored.

        Raises:
            BusError: NATS cannot be reached, so the task must be delivered again.
        """
        answer = await self._answer(call, request, longest)
        if answer.error:
            task, tool, text = short_id(request.task.id), call.name[:100], answer.text[:_LOGGED]
            log.info("%s: tool %s failed: %s", task, tool, text, extra={"agent": request.agent})
        return answer

    def recorded(self, call: ToolCall, text: str, *, error: bool) -> ToolAnswer:
        """The answer to a call that was made before the run was interrupted.

        The journal has the text of the answer. The messages that the call asked for are worked out
        again from its arguments.
        """
        declared = self.tools.get(call.name)
        if error or declared is None:
            return ToolAnswer(text, error, final=error)
        return ToolAnswer(
            text, emitted=emitted_by(declared.tool, json.loads(call.arguments or "{}"))
        )

    async def _answer(self, call: ToolCall, request: Call, longest: int) -> ToolAnswer:
        wanted = self.tools.get(call.name)
        if wanted is None:
            return self._unknown(call.name)
        timeout = min(request.timeout, wanted.timeout)
        try:
            arguments = await wanted.arguments(call.arguments)
            request = replace(request, arguments=arguments, timeout=timeout)
            async with asyncio.timeout(timeout):
                whole = written(await wanted.tool.call(request))
            emitted, text = emitted_by(wanted.tool, arguments), shown(whole, longest)
            return ToolAnswer(text, emitted=emitted, cut=text is not whole)
        except ToolError as error:
            return ToolAnswer(shown(str(error)), error=True, final=error.final)
        except TimeoutError:
            text = f"{call.name} gave no answer within {timeout:g} s and was cancelled"
            return ToolAnswer(text, error=True)
        except BusError:
            raise  # not the fault of the call: with NATS back, it may succeed
        except Exception as error:
            # A bug in the tool must cost this call, not the run.
            log.exception("the tool %s has a bug", call.name, extra={"agent": request.agent})
            text = f"{call.name} failed with an internal error: {type(error).__name__}: {error}"
            return ToolAnswer(shown(text), error=True)

    def _unknown(self, name: str) -> ToolAnswer:
        known = ", ".join(sorted(self.tools)) or "none"
        troubles = [e.source.trouble for e in self.entries if e.source.trouble]
        missing = "".join(f"\n{trouble}" for trouble in troubles)
        text = f"there is no tool {name[:100]!r}; the tools are: {known}{missing}"
        return ToolAnswer(text, error=True, final=not troubles)


def emitted_by(tool: Tool, arguments: Mapping[str, Any]) -> tuple[Emitted, ...]:
    """The messages that an accepted call of a tool asks for; most tools ask for none."""
    return tuple(tool.emitted(arguments)) if isinstance(tool, Emitting) else ()


def written(answer: Any) -> str:
    """An answer as text."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def shown(text: str, longest: int = MOST_SHOWN) -> str:
    """A text, cut to the length that the model receives."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}\n[cut: the whole answer has {len(text):,} characters]"


def _declared(tool: Tool, entry: ToolEntry) -> DeclaredTool | None:
    """The tool under the name that the manifest gives it; None if the manifest excludes it."""
    if entry.allow is not None and tool.name not in entry.allow:
        return None
    if entry.deny is not None and tool.name in entry.deny:
        return None
    if entry.name is None:
        return DeclaredTool(tool.name, tool, entry)
    several = entry.mcp is not None or entry.openapi is not None
    name = fitting(f"{entry.name}_{tool.name}") if several else entry.name
    return DeclaredTool(name, tool, entry)
