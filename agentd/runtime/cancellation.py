"""Ends a whole tree of work: what runs of it is cancelled, what waits is taken out of WORK.

`agentd stop` does it, and so does a plain message: an event on `event.cancel.requested` whose
content is `{"conversation": id}` or `{"task": id}`.
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
    """Stops it everywhere, and buries what waits; how many tasks that were.

    Raises:
        BusError: the server does not answer; a repeat does what is left.
    """
    await cancellations.cancel(bus, subjects, scope)
    dead_lettered = 0
    async for msg in jetstream.stored(bus, WORK, subjects.all_work):
        headers = dict(msg.headers or {})
        stored_at = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
        waiting = parcel(msg.data, headers, attempt=0, stored_at=stored_at)
        # What is running of it is in WORK too: its own end and this one are the same outcome.
        if scope.holds(task_of(waiting)):
            sequence = int(headers["Nats-Sequence"])
            await dead_letter(bus, subjects, waiting, refusal(scope), sequence=sequence)
            dead_lettered += 1
    return dead_lettered


class CancelRequests:
    """One process's ear for messages that ask for it; one process of the group acts on each."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def open(self) -> None:
        """Hears them from now on."""
        subject = self._subjects.event("cancel", "requested")
        await self._bus.subscribe(subject, self._on_request, self._subjects.group)

    async def _on_request(self, msg: Msg) -> None:
        try:
            scope = _scope(decode(msg.data, type="event").payload.content)
        except (DecodeError, ValueError) as error:
            log.warning("a request to cancel says nothing that can be cancelled: %s", error)
            return
        try:
            dead_lettered = await cancel(self._bus, self._subjects, scope)
        except BusError as error:
            log.warning("%s is not cancelled in full: %s", scope, error)
        else:
            log.info("%s is cancelled; %d tasks were waiting", scope, dead_lettered)


def _scope(content: object) -> Scope:
    match content:
        case {"conversation": str(name)}:
            return Scope("conversation", name)
        case {"task": str(name)}:
            return Scope("task", name)
        case _:
            raise ValueError('its content must be {"conversation": id} or {"task": id}')
