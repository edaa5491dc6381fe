"""A log that a test writes: the messages that agents would have stored, a second apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentd.protocol.fields import AgentIdentity, Context
from agentd.protocol.message import AgentMessage, encode, new
from agentd.protocol.subjects import Subjects
from agentd.record.trace.entry import Entry

T0 = 1_800_000_000.0
PERSON = AgentIdentity(id="maria", type="user")


def agent(name: str) -> AgentIdentity:
    return AgentIdentity(id=name, type="agent")


class Story:
    """The records of a conversation, in the order in which a test adds them."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.subjects = Subjects("dev")
        self.now = T0

    def store(
        self,
        subject: str,
        message: AgentMessage,
        *,
        after: float = 1.0,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Stores a message `after` so many seconds; returns its sequence."""
        self.now += after
        sequence = 101 + len(self.entries)
        entry = Entry.of(sequence, self.now, subject, encode(message), headers or {})
        self.entries.append(entry)
        return sequence

    def ask(self, to: str, text: Any, *, id: str, **more: Any) -> AgentMessage:  # noqa: A002
        """A person's task."""
        context = Context(conversation_id="chat")
        task = new("task", text, source=PERSON, id=id, context=context, **more)
        self.store(self.subjects.task(to, "general"), task)
        return task

    def emit(self, task: AgentMessage, by: str, to: str, text: Any, *, id: str) -> AgentMessage:  # noqa: A002
        """A task that an agent emits."""
        child = task.child("task", text, source=agent(by), id=id)
        self.store(self.subjects.task(to, "general"), child, after=0.0)
        return child

    def run(self, task: AgentMessage, by: str, event: str, /, *, life: int, **more: Any) -> int:
        """An entry of the journal of a task."""
        content = {"event": event, "task": task.id, "life": life, "delivery": 1, **more}
        message = task.reply("event", content, source=agent(by))
        return self.store(self.subjects.event("run", task.id), message)

    def result(
        self, task: AgentMessage, by: str, data: Any, *, about: str = "analysis", **more: Any
    ) -> AgentMessage:
        """The result of a task."""
        content = {"success": True, "data": data, "error": None, "latency": 1_000.0, **more}
        message = task.reply("result", content, source=agent(by))
        self.store(self.subjects.result(about, "general", task.id), message)
        return message

    def about(self, domain: str, task: AgentMessage, content: Any, by: str = "agentd") -> int:
        """An event of agentd about a task."""
        message = task.reply("event", content, source=AgentIdentity(id=by, type="runtime"))
        return self.store(self.subjects.event(domain, task.id), message)

    def of_system(self, topic: str, content: Any) -> int:
        """An event outside the conversation."""
        message = new("event", content, source=PERSON, context=Context(conversation_id="system"))
        return self.store(self.subjects.event(*topic.split(".")), message)

    def with_headers(self, sequence: int, **headers: str) -> None:
        """Gives a record headers: `Agentd_Life="1"`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        at = sequence - 101
        self.entries[at] = replace(self.entries[at], headers=named)
