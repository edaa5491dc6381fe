"""The port to tools: what a tool is, what a call of it has, and what a source of tools gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from agentd.errors import AgentdError
from agentd.protocol.message import AgentMessage


class ToolError(AgentdError):
    """A call that failed. The model receives the text, so it says what to do about it.

    `final` means that the same call would fail again.
    """

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a tool.

    Attributes:
        arguments: from the model; they fit the tool's schema.
        key: the idempotency key. It is the same whenever this call of this task is repeated.
        timeout: seconds; then the caller cancels the call.
        task: the task of the run that makes the call.
        agent: the name of the agent that makes the call.
        money: gives the USD that the task may still spend.
    """

    arguments: Mapping[str, Any]
    key: str
    timeout: float
    task: AgentMessage
    agent: str
    money: Callable[[], Awaitable[float]]


class Tool(Protocol):
    """One function that a model can call."""

    @property
    def name(self) -> str:
        """Its name for the model: 1 to 64 characters of `A-Z a-z 0-9 _ -`."""
        ...

    @property
    def description(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON Schema of its arguments: an object."""
        ...

    @property
    def takes_key(self) -> bool:
        """Whether it passes `Call.key` on, so that a repeated call has its effect only once."""
        ...

    async def call(self, call: Call) -> Any:
        """The answer: text, or any JSON value. A cancelled call leaves no process behind.

        Raises:
            ToolError: the call failed.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Emitted:
    """A task or an event that a call has asked for. It is sent with the agent's answer.

    Attributes:
        to: `task.research.climate` or `event.review.requested`.
        content: text, or any JSON value.
        priority: 0 to 9; None for the priority of the task.
    """

    to: str
    content: Any
    priority: int | None = None


@runtime_checkable
class Emitting(Protocol):
    """A tool whose calls ask for messages that are sent with the agent's answer."""

    def emitted(self, arguments: Mapping[str, Any]) -> Sequence[Emitted]:
        """The messages that an accepted call with these arguments asks for.

        They depend on the arguments alone: a run that resumes takes the arguments from its journal,
        and does not make the call again.
        """
        ...


class ToolSource(Protocol):
    """The tools of one entry under `tools:`."""

    @property
    def tools(self) -> Sequence[Tool]:
        """Its tools at this moment; those of an MCP server come and go."""
        ...

    @property
    def trouble(self) -> str:
        """Why its tools are missing, in words; empty when they are there."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A source that needs time before a run begins."""

    async def prepare(self) -> Mapping[str, str]:
        """Waits, for a limited time, until its tools are known. Returns texts for the agent's
        prompt, by name.

        Raises:
            TaskError: a text that the prompt needs cannot be read.
        """
        ...
