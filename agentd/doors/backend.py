"""What a door may use of its process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agentd.catalog.spec import AgentSpec
from agentd.doors.ending import Ending
from agentd.metrics import Metrics
from agentd.nats.bus import Bus
from agentd.protocol.actor import Actor
from agentd.protocol.subjects import Subjects
from agentd.queue import cancellations
from agentd.queue.cancellations import Scope
from agentd.settings import Settings


class Cancel(Protocol):
    """Cancels a scope in the name of `by`; returns how many tasks of each state this ends."""

    def __call__(
        self, bus: Bus, subjects: Subjects, scope: Scope, *, by: Actor
    ) -> Awaitable[Counter[str]]: ...


async def _cancel(bus: Bus, subjects: Subjects, scope: Scope, *, by: Actor) -> Counter[str]:
    await cancellations.cancel(bus, subjects, scope, by=by)
    return Counter()


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What a door may use of its process.

    Attributes:
        specs: returns the agents that run here, by name. `routing.registry` knows those of all
            processes.
        cancel: cancels a conversation or a task.
        draining: set when the process begins to end. A stream then says `retry:` and ends, and a
            handler that waits for a result answers without it.
        drained: set when no task runs here any more: what still waits ends now, in its own words.
    """

    bus: Bus
    subjects: Subjects
    settings: Settings
    metrics: Metrics
    specs: Callable[[], Mapping[str, AgentSpec]]
    draining: Ending
    drained: Ending = field(default_factory=Ending)
    cancel: Cancel = _cancel
