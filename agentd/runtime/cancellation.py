"""Cancels a conversation, or a task and all that followed from it, in every process.

Running tasks are cancelled; tasks that wait or are suspended become dead letters. Both
`agentd stop` and a plain message do this: an event on `event.cancel.requested` whose content is
`{"conversation": id}` or `{"task": id}`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

from agentd.errors import BusError, DecodeError
from agentd.nats import schedules
from agentd.nats.bus import Bus, Msg
from agentd.nats.records import skipped
from agentd.protocol.actor import Actor
from agentd.protocol.message import decode
from agentd.protocol.subjects import Subjects
from agentd.queue import cancellations
from agentd.queue.cancellations import Scope, refusal
from agentd.runtime.dead_lettering import dead_letter
from agentd.runtime.open_tasks import OpenTask, State, open_tasks

log = logging.getLogger(__name__)

_NONE: Mapping[str, State] = {}


async def cancel(
    bus: Bus,
    subjects: Subjects,
    scope: Scope,
    known: Mapping[str, State] = _NONE,
    *,
    by: Actor | None = None,
) -> Counter[str]:
    """Cancels the scope everywhere. Returns how many tasks of each state this ends, with those
    that were `known` before, by their ids: running tasks end by themselves, and may be gone
    already.

    Raises:
        BusError: the server does not answer; calling this again does the rest.
    """
    ended = dict(known)
    # The cancellation first: from then on no process begins a task that waits in WORK.
    await cancellations.cancel(bus, subjects, scope, by=by)
    async for task in open_tasks(bus, subjects):
        if scope.holds(task.message):
            ended.setdefault(task.message.id, task.state)
            await _end(bus, subjects, scope, task)
    return Counter(ended.values())


async def _end(bus: Bus, subjects: Subjects, scope: Scope, task: OpenTask) -> None:
    """Dead-letters a task. One that is not sent yet is refused when it is due."""
    if task.state == "scheduled":
        return
    # Running tasks are in WORK too. Whichever records the outcome first, it is the same one.
    await dead_letter(bus, subjects, task.parcel, refusal(scope), sequence=task.sequence)
    if task.schedule:
        await schedules.remove(bus, task.schedule)


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
            request = decode(msg.data, type="event")
            scope = scope_of(request.payload.content)
        except (DecodeError, ValueError) as error:
            skipped("a request to cancel", msg.subject, error)
            return
        try:
            by = Actor("message", request.source.id)
            ended = await cancel(self._bus, self._subjects, scope, by=by)
        except BusError as error:
            log.warning("%s is not completely cancelled: %s", scope, error)
        else:
            log.info("%s is cancelled; open tasks: %s", scope, in_words(ended) or "none")


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


def in_words(ended: Counter[str]) -> str:
    """`1 running, 3 waiting`; "" for none."""
    states = ("running", "waiting", "suspended", "scheduled")
    return ", ".join(f"{ended[state]} {state}" for state in states if ended[state])
