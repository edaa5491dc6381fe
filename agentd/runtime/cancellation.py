"""Cancels a conversation, or a task and all that followed from it, in every process.

Running tasks are cancelled, and waiting tasks are removed from WORK as dead letters. Both
`agentd stop` and a plain message do this: an event on `event.cancel.requested` whose content is
`{"conversation": id}` or `{"task": id}`.
"""

from __future__ import annotations

import logging
from datetime import datetime

from agentd.errors import BusError, DecodeError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import WORK
from agentd.protocol.message import decode
from agentd.protocol.subjects import Subjects
from agentd.queue import cancellations
from agentd.queue.cancellations import Scope, refusal
from agentd.queue.delivery import parcel
from agentd.runtime.dead_lettering import dead_letter, task_of

log = logging.getLogger(__name__)


async def cancel(bus: Bus, subjects: Subjects, scope: Scope) -> int:
    """Cancels the scope everywhere, and returns how many tasks in WORK were dead-lettered.

    Raises:
        BusError: the server does not answer; calling this again does the rest.
    """
    # The cancellation first: from then on no process begins a task that waits in WORK.
    await cancellations.cancel(bus, subjects, scope)
    dead_lettered = 0
    async for msg in jetstream.stored(bus, WORK, subjects.all_work):
        headers = dict(msg.headers or {})
        stored_at = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
        waiting = parcel(msg.data, headers, attempt=0, stored_at=stored_at)
        # Running tasks are in WORK too. Whichever records the outcome first, it is the same one.
        if scope.holds(task_of(waiting)):
            sequence = int(headers["Nats-Sequence"])
            await dead_letter(bus, subjects, waiting, refusal(scope), sequence=sequence)
            dead_lettered += 1
    return dead_lettered


class CancelRequests:
    """Subscribes to messages that ask to cancel something.

    All processes of an environment form one queue group, so one of them acts on each message.
    """

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def open(self) -> None:
        """Subscribes."""
        subject = self._subjects.event("cancel", "requested")
        await self._bus.subscribe(subject, self._on_request, self._subjects.group)

    async def _on_request(self, msg: Msg) -> None:
        try:
            scope = scope_of(decode(msg.data, type="event").payload.content)
        except (DecodeError, ValueError) as error:
            log.warning("invalid request to cancel: %s", error)
            return
        try:
            dead_lettered = await cancel(self._bus, self._subjects, scope)
        except BusError as error:
            log.warning("%s is not completely cancelled: %s", scope, error)
        else:
            log.info("%s is cancelled; %d waiting tasks dead-lettered", scope, dead_lettered)


def scope_of(content: object) -> Scope:
    """The scope that the content of a request names.

    Raises:
        ValueError: it names none.
    """
    match content:
        case {"conversation": str(name)}:
            return Scope("conversation", name)
        case {"task": str(name)}:
            return Scope("task", name)
        case _:
            raise ValueError('the content must be {"conversation": id} or {"task": id}')
