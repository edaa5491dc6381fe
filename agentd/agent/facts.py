"""Facts that an agent subscribes to: each is added to its join, or becomes a task."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from agentd.agent.joins import Joins
from agentd.agent.services import Services
from agentd.catalog.spec import AgentSpec
from agentd.errors import Again, DecodeError, TaskError
from agentd.nats.objects import require_room
from agentd.nats.records import skipped
from agentd.nats.streams import LOG
from agentd.protocol.destination import Destination
from agentd.protocol.fields import Routing
from agentd.protocol.message import AgentMessage, decode, encode, new
from agentd.protocol.subjects import AGENT_DOMAIN, Subject, digest
from agentd.queue.delivery import Delivery
from agentd.queue.fact_consumer import DUE, asked, patterns, wanted
from agentd.queue.topic import topic_headers

log = logging.getLogger(__name__)

# During a reload, a replica may pull a fact that only the new manifest subscribes to. It hands the
# fact back so many times, for a replica that has reloaded already.
_LEFT_TO_OTHERS, _PAUSE = 5, 1.0


class Facts:
    """The facts of one agent."""

    def __init__(self, services: Services, agent: str) -> None:
        self._bus = services.bus
        self._subjects = services.subjects
        self._agent = agent
        self._secret = services.secret
        self._joins = Joins(services, agent)

    async def take(self, fact: Delivery, spec: AgentSpec) -> Delivery | None:
        """The task that a fact becomes, to be handled like any other. None if nothing is left to
        do: the fact was added to a join, or this agent does not run for it.

        Raises:
            Again: only another replica may know why this fact was delivered.
            BusError: the fact is to be delivered again.
        """
        message = self._read(fact)
        if message is None or message.source.id == self._agent:
            return None  # an agent does not run for its own facts
        if fact.foreign:
            return self._task(fact, message, None, spec)  # which is refused
        if fact.subject.domain == DUE:
            await self._joins.give_up(message, spec)
            return None
        manifest = spec.manifest
        if not asked(patterns(manifest), fact.subject) and fact.attempt < _LEFT_TO_OTHERS:
            raise Again(
                TaskError("this replica does not subscribe to it", code="unsubscribed"),
                delay=_PAUSE,
            )
        if manifest.join and wanted(manifest.join.wait_for, fact.subject):
            await self._joins.add(fact, message, spec)
        subscribe = manifest.subscribe
        if subscribe is None or not wanted(subscribe.to, fact.subject):
            return None
        content = _content(message, fact.subject)
        if isinstance(content, _Failed):
            if not subscribe.errors:
                return None
            content = content.content
        return self._task(fact, message, content, spec)

    def _read(self, fact: Delivery) -> AgentMessage | None:
        kind: Any = fact.subject.type
        try:
            read = decode(fact.data, type=kind, id=fact.default_id, timestamp=fact.stored_at)
            require_room(self._bus, read, len(fact.data))
            return read
        except DecodeError as error:
            skipped(LOG, str(fact.subject), error, fact.sequence)
            return None

    def _task(
        self, fact: Delivery, message: AgentMessage, content: Any, spec: AgentSpec
    ) -> Delivery:
        """The task that a fact becomes. Its id is the same at every delivery, so that it has one
        outcome, and its dead letter can be sent again."""
        identity = run_id(fact.subject, message.id, self._agent)
        identity = self._secret.identify(identity, fact.sequence)
        context = message.context.model_copy(update={"parent_message_id": message.id})
        task = new(
            "task",
            content,
            source=message.source,
            id=identity,
            target=self._agent,
            correlation_id=message.correlation_id or message.id,
            context=context,
            routing=Routing(priority=message.routing.priority),
        )
        data = encode(task.model_copy(update={"timestamp": message.timestamp}))
        here = Destination(AGENT_DOMAIN, self._agent)
        about = ".".join(spec.manifest.fact_topic(fact.subject.specificity))
        return replace(
            fact,
            data=data,
            subject=Subject.parse(self._subjects.task_for(self._agent)),
            headers={
                **fact.headers_for(identity),
                **topic_headers(about, here, data, self._secret),
            },
        )


def run_id(fact: Subject, message_id: str, agent: str) -> str:
    """The id of the task that a fact becomes for an agent."""
    return digest(f"{fact} {message_id} {agent}")


class _Failed:
    """The content of a result that is an error."""

    def __init__(self, content: Any) -> None:
        self.content = content


def _content(message: AgentMessage, subject: Subject) -> Any:
    """The content that an agent sees of a fact: the answer in a result, or the content of an
    event."""
    content = message.payload.content
    if subject.type != "result" or not isinstance(content, dict) or "success" not in content:
        return content
    if content["success"]:
        return content.get("data")
    return _Failed({"error": content.get("error")})
