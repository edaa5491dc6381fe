"""Stores the task of a delivery, once, however often and wherever the delivery arrives.

The id of the task derives from the delivery, and `routing.accept` stores an id once, for as long as
the log keeps it. Where the result is to be posted, a record of that is stored before the task.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import Any

from agentd.doors.triggers.draft import Draft
from agentd.errors import AgentdError, BusError, DecodeError, TaskError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.jetstream import Record
from agentd.nats.shared_value import Secret
from agentd.nats.streams import LOG
from agentd.protocol import trace
from agentd.protocol.fields import Context
from agentd.protocol.message import AgentIdentity, AgentMessage, decode, encode, new
from agentd.protocol.subjects import Subjects
from agentd.queue.delivery import MARK
from agentd.routing import accept
from agentd.routing.accept import Acceptance, Terms
from agentd.routing.eligibility import Directory
from agentd.run.attachments import upload
from agentd.telemetry import active

DOMAIN = "trigger"  # of the events of triggers: their specificity is an agent
CALLBACK = "callback_due"

_REMEMBER = 86400.0  # seconds after which the entry of an accepted delivery is stored again


class Intake:
    """Stores the tasks of deliveries. `secret` may not be read yet when this is made."""

    def __init__(self, bus: Bus, subjects: Subjects, secret: Secret) -> None:
        self.bus = bus
        self.subjects = subjects
        self._secret = secret
        self._directory = Directory(bus, subjects, may_wait=True)

    async def accept(self, draft: Draft) -> Acceptance:
        """Stores the task of a delivery, unless it is stored already.

        It is stored even if no agent online takes it, as what agents emit: most senders do not
        send again.

        Raises:
            TaskError: too many tasks wait at its destination (`overloaded`), the agent does not
                take its content (`invalid_input`), or it cannot be sent as JSON (`unencodable`).
            BusError: it was not stored, or nobody knows.
        """
        if active.tracer is None:
            return await self._accept(draft)
        with active.tracer.trigger(draft.trigger.kind, draft.trigger.name, draft.agent):
            return await self._accept(draft)

    async def _accept(self, draft: Draft) -> Acceptance:
        task = draft.message(self.task_id(draft))
        await upload(self.bus, draft.files)
        # The id says that it is the same delivery, whatever else has changed in it.
        terms = Terms(
            by=draft.trigger.name,
            alike=False,
            before=[self._callback(draft, task)] if draft.trigger.callback else [],
        )
        return await accept.accept_on(
            terms, self.bus, self.subjects, draft.to, task, self._directory
        )

    def task_id(self, draft: Draft) -> str:
        """The id of the task: the same for a delivery that comes again, and not to be guessed. A
        client that could guess it might use it first."""
        return self._secret.digest(draft.seed)

    async def is_stored(self, draft: Draft) -> bool:
        """Whether the task of a delivery is stored. The log then remembers it for longer.

        Raises:
            BusError: the log does not answer.
        """
        acceptance = await accept.find(self.bus, self.subjects, self.task_id(draft))
        if not acceptance or not await accept.sequence_of(self.bus, self.subjects, acceptance):
            return False
        await self._remember(draft, acceptance)
        return True

    async def _remember(self, draft: Draft, acceptance: Acceptance) -> None:
        """Stores the entry of an accepted task again, once a day at most."""
        subject = self.subjects.event("run", acceptance.task)
        _, newest = await jetstream.newest(self.bus, LOG, subject)
        with contextlib.suppress(DecodeError):
            if decode(newest).sent_at > time.time() - _REMEMBER:
                return
        task = draft.message(acceptance.task)
        await accept.remember(self.bus, self.subjects, acceptance, task)

    def mark(self, data: bytes) -> str:
        """What shows that a process of this environment wrote the record of a callback. Anyone may
        publish one, and have a result posted to any address."""
        return self._secret.digest(f"callback {hashlib.sha256(data).hexdigest()}")

    def _callback(self, draft: Draft, task: AgentMessage) -> Record:
        content: dict[str, Any] = {
            "event": CALLBACK,
            "agent": draft.agent,
            "kind": draft.trigger.kind,
            "name": draft.trigger.name,
            "task": task.id,
            **({"url": draft.callback} if draft.callback else {}),
        }
        event = new(
            "event",
            content,
            source=AgentIdentity(id=draft.agent, type="agent"),
            context=Context(conversation_id=task.context.conversation_id),
            correlation_id=task.id,
        )
        data = encode(event)
        subject = self.subjects.event(DOMAIN, draft.agent)
        # The trace goes on when the result is posted.
        headers = {**trace.headers(), MARK: self.mark(data)}
        return Record(subject=subject, data=data, headers=headers)


def may_pass(error: AgentdError) -> bool:
    """Whether the same delivery may be stored later."""
    return isinstance(error, BusError) or (isinstance(error, TaskError) and error.retryable)
