"""`ask: person`: a question to a person, as a tool.

The run never makes such a call: it is suspended with the question, like a call that needs approval,
and the answer is what the tool answers. See `agentd.run.approval_gate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.manifest import tools as manifest_tools
from agentd.tools.port import Call, ToolError, ToolSource

_QUESTION = {
    "type": "string",
    "minLength": 1,
    "maxLength": 4_000,
    "description": "The question, with all that the person must know to answer it.",
}
_CHOICES = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 200},
    "minItems": 2,
    "maxItems": 20,
    "description": "The answers that the person can choose from. Leave it out for any text.",
}


class AskTools:
    """All `ask:` tools of this process."""

    def open(self, entry: manifest_tools.ToolEntry, spec: AgentSpec) -> ToolSource:
        """The tool of an entry."""
        del spec
        return AskTool(entry)

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class AskTool:
    """A question to a person, and also the source of this tool."""

    entry: manifest_tools.ToolEntry

    trouble = ""
    takes_key = True

    @property
    def name(self) -> str:
        return self.entry.own_name

    @property
    def tools(self) -> Sequence[AskTool]:
        return (self,)

    @property
    def description(self) -> str:
        """What it does, and what the answers can be."""
        text = "Asks a person a question and returns the answer, which may take a long time."
        return f"{text} The answer is one of: {', '.join(self.choices)}." if self.choices else text

    @property
    def choices(self) -> Sequence[str]:
        """The answers that the manifest allows; none for any."""
        return self.entry.choices or ()

    @property
    def parameters(self) -> Mapping[str, Any]:
        """A question; and choices, unless the manifest has some."""
        fields = {"question": _QUESTION, **({} if self.choices else {"choices": _CHOICES})}
        return {
            "type": "object",
            "properties": fields,
            "required": ["question"],
            "additionalProperties": False,
        }

    async def call(self, call: Call) -> Any:
        """Never answers.

        Raises:
            ToolError: always; the run is suspended instead of making the call.
        """
        raise ToolError("a person can only be asked in a task, which waits for the answer")
