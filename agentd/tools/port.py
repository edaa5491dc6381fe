"""The port to tools: what a model is told of one, what it is called with, and what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from agentd.errors import AgentdError
from agentd.protocol.message import AgentMessage


class ToolError(AgentdError):
    """A call that gave no answer. The model is told the text, and may do something about it."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a tool.

    Attributes:
        arguments: what the model gave; they fit the tool's schema.
        key: the same for the same call of the same task, however often it is tried: what a tool
            with effects passes on as its idempotency key.
        timeout: seconds that it may take; the caller cancels it then.
        task: the task that it is made for.
        agent: who makes it.
        money: asks for the USD that are left of what the task may cost.
    """

    arguments: Mapping[str, Any]
    key: str
    timeout: float
    task: AgentMessage
    agent: str
    money: Callable[[], Awaitable[float]]


class Tool(Protocol):
    """Something that a model can call."""

    @property
    def name(self) -> str:
        """What the model calls it: 1 to 64 of `A-Z a-z 0-9 _ -`."""
        ...

    @property
    def description(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON Schema of its arguments: an object."""
        ...

    @property
    def takes_key(self) -> bool:
        """Whether it passes `Call.key` on, so that what it reaches does not act on a call twice."""
        ...

    async def call(self, call: Call) -> Any:
        """Its answer: a text, or anything that JSON has. Cancelled, it leaves nothing behind.

        Raises:
            ToolError: it gave none.
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
    """What one entry under `tools:` gives."""

    @property
    def tools(self) -> Sequence[Tool]:
        """Its tools of the moment; those of a server may come and go."""
        ...

    @property
    def trouble(self) -> str:
        """Why its tools are not there, in words; empty when they are."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A source that wants to be asked before a run begins."""

    async def prepare(self) -> Mapping[str, str]:
        """Waits for a moment if it is not known yet whether its tools are there; then, what it
        gives for the agent's prompt, by name.

        Raises:
            TaskError: something that the prompt needs is not to be had.
        """
        ...
