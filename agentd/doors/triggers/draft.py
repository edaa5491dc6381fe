"""The task that a trigger makes of a delivery, before it has an id and is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentd.catalog.spec import AgentSpec
from agentd.doors.triggers.delivery import Delivery
from agentd.errors import AgentdError, PromptError, UsageError
from agentd.manifest.triggers.trigger import Trigger
from agentd.protocol.destination import Destination
from agentd.protocol.fields import Context, Routing
from agentd.protocol.message import AgentIdentity, AgentMessage, new
from agentd.run.attachments import Attachment, with_parts

_LONGEST_ID = 1_000  # characters of the id of a delivery, and of a conversation
_LONGEST_URL = 4_096


class TriggerError(AgentdError):
    """An expression of a trigger fails, or gives a value that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A task that a trigger starts.

    Attributes:
        agent: the agent whose manifest has the trigger.
        delivery: the id of the delivery.
        conversation: None for a new one.
        callback: the URL for the result, if the delivery decides it. One that the manifest has is
            left out, so that it is not stored: it may hold a secret.
        files: what the content refers to, to be uploaded before the task is stored.
    """

    agent: str
    trigger: Trigger
    delivery: str
    content: Any
    conversation: str | None = None
    callback: str | None = None
    files: Sequence[Attachment] = ()

    @property
    def to(self) -> Destination:
        """Where the task goes."""
        return Destination.parse(self.trigger.task or f"@{self.agent}")

    @property
    def seed(self) -> str:
        """What the id of the task is derived from: two deliveries with one seed are one task."""
        return f"trigger {self.agent} {self.trigger.kind} {self.trigger.name} {self.delivery}"

    def message(self, task_id: str) -> AgentMessage:
        """The task."""
        trigger = {"kind": self.trigger.kind, "name": self.trigger.name, "delivery": self.delivery}
        return new(
            "task",
            self.content,
            id=task_id,
            source=AgentIdentity(id=self.trigger.name, type=self.trigger.kind),
            context=Context(
                conversation_id=self.conversation or task_id, metadata={"trigger": trigger}
            ),
            routing=Routing(priority=self.trigger.priority),
        )


def draft(spec: AgentSpec, trigger: Trigger, delivery: Delivery) -> Draft | None:
    """The task that the delivery starts; None if `when` is not true for it.

    Raises:
        TriggerError: an expression fails, or gives a value that cannot be used.
    """
    values = _Values(spec, delivery.names)
    if trigger.when is not None and not values.of("when", trigger.when):
        return None
    callback, conversation = trigger.callback, trigger.conversation
    content = values.of("content", trigger.content) if trigger.content else delivery.content
    try:
        content = with_parts(content, [file.part for file in delivery.files])
    except UsageError as error:
        raise TriggerError(f"content: {error}") from None
    return Draft(
        agent=spec.name,
        trigger=trigger,
        delivery=values.text("id", trigger.id) if trigger.id else delivery.id[:_LONGEST_ID],
        content=content,
        conversation=values.text("conversation", conversation) if conversation else None,
        callback=values.url(callback.url) if callback and not callback.is_fixed else None,
        files=delivery.files,
    )


class _Values:
    """The values of a trigger's expressions for one delivery."""

    def __init__(self, spec: AgentSpec, names: Mapping[str, Any]) -> None:
        self._spec = spec
        self._names = names

    def of(self, field: str, expression: str) -> Any:
        try:
            return self._spec.expressions[expression].evaluate(self._names)
        except PromptError as error:
            raise TriggerError(f"{field}: {error}") from error

    def text(self, field: str, expression: str) -> str:
        """A value as an id: text, or a whole number, which many senders use."""
        value = self.of(field, expression)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID:
            problem = f"must give a text of 1 to {_LONGEST_ID:,} characters, or a whole number"
            raise TriggerError(f"{field}: {expression}: {problem}")
        return value

    def url(self, expression: str) -> str:
        value = self.of("callback", expression)
        is_url = isinstance(value, str) and value.lower().startswith(("http://", "https://"))
        if not is_url or len(value) > _LONGEST_URL:
            problem = f"must give a URL of at most {_LONGEST_URL:,} characters"
            raise TriggerError(f"callback: {expression}: {problem}")
        return value
