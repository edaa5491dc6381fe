"""What the sender of a task decides itself: parameters of the model, and tools of its own.

If the model calls a tool of the sender, the run ends with the call as its answer. The sender runs
the function, and sends its next task with the call and its answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agentd.errors import ModelError, TaskError
from agentd.manifest.agent import Manifest
from agentd.models.port import Completion
from agentd.protocol.fields import Payload, has_calls
from agentd.protocol.message import AgentMessage
from agentd.run.history import chat_turns, ids_in
from agentd.tools.tool_schema import for_model

# The manifest decides all other parameters.
SENDERS_PARAMETERS: Final = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "presence_penalty",
        "reasoning_effort",
        "seed",
        "stop",
        "temperature",
        "top_p",
    }
)
# Only of a sender that brings tools: they would force calls of the agent's own tools.
OF_TOOLS: Final = frozenset({"parallel_tool_calls", "tool_choice"})


def senders_parameters(payload: Payload) -> Mapping[str, Any]:
    """The parameters of a task, if its sender may set them all.

    Raises:
        ModelError: one is not allowed, for example one that names credentials
            (`parameter_not_allowed`).
    """
    permitted = SENDERS_PARAMETERS | (OF_TOOLS if payload.tools else frozenset())
    for name in payload.parameters:
        if name not in permitted:
            allowed = ", ".join(sorted(permitted))
            raise ModelError(
                f"payload.parameters has {name!r}; a sender may set {allowed}",
                code="parameter_not_allowed",
            )
    return payload.parameters


@dataclass(frozen=True)
class SendersTools:
    """The tools of one task's sender.

    Attributes:
        schemas: the tools as a model is shown them.
        turns: what followed the content so far, as a model is sent it.
        taken: the ids of all calls that the sender knows.
    """

    schemas: Sequence[Mapping[str, Any]]
    turns: Sequence[Mapping[str, Any]]
    taken: frozenset[str]

    @classmethod
    def of(cls, manifest: Manifest, message: AgentMessage) -> SendersTools:
        """The tools that the sender of this message brings.

        Raises:
            TaskError: the manifest does not allow any (`client_tools`), or the calls and answers in
                the message do not belong together (`bad_part`).
        """
        given = message.payload
        turns = (*message.context.history, *given.continuation)
        if not manifest.client_tools and (given.tools or has_calls(turns)):
            raise TaskError(
                f"{manifest.name} takes no tools of its sender: its manifest does not have "
                "`client_tools: true`; leave out the tools and the turns that call them",
                code="client_tools",
            )
        schemas = [
            {
                "name": tool.name,
                "description": tool.description,
                "parameters": for_model(tool.parameters),
            }
            for tool in given.tools
        ]
        return cls(
            [{"type": "function", "function": schema} for schema in schemas],
            chat_turns(given.continuation, "payload.continuation"),
            frozenset(ids_in(turns)),
        )

    @property
    def names(self) -> list[str]:
        """The names of the tools."""
        return [each["function"]["name"] for each in self.schemas]

    def require_own_names(self, agents: Collection[str]) -> None:
        """Checks that no two tools of the run have the same name.

        Raises:
            TaskError: two of them have (`client_tools`).
        """
        names = self.names
        for name in names:
            if name in agents or names.count(name) > 1:
                twice = "the agent has one, too" if name in agents else "two tools have this name"
                raise TaskError(
                    f"the tool {name!r} of the sender needs another name: {twice}",
                    code="client_tools",
                )

    def called_in(self, completion: Completion) -> Completion | None:
        """The completion with nothing but its calls of the sender's tools; None if there are none.

        Calls of the agent's own tools in the same turn are dropped: the sender could not send
        their answers back. The model makes them again if it needs them.
        """
        names = self.names
        calls = tuple(call for call in completion.tool_calls if call.name in names)
        return replace(completion, tool_calls=calls) if calls else None
