"""What a process lends to its agents."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from agentd.agent.emit import Emitter
from agentd.agent.fan_out import directly
from agentd.metrics import Metrics
from agentd.nats.bus import Bus
from agentd.nats.shared_value import Secret
from agentd.protocol.subjects import Subjects
from agentd.queue.cancellations import Cancellations
from agentd.queue.queue import Queue
from agentd.queue.suspects import Suspects
from agentd.routing.routes import RouteTable
from agentd.run.budget import Budgets


@dataclass(frozen=True, kw_only=True)
class Services:
    """What a process lends to its agents. `clock` gives seconds since the epoch. Tasks that may
    have killed a process before wait for their turn in `suspects`. Ids and topics of what agentd
    emits are derived with the `secret`. `leads` says whether a message emitted as a topic may lead
    to a fact of a pattern that an agent joins."""

    bus: Bus
    queue: Queue
    routes: RouteTable
    subjects: Subjects
    budgets: Budgets
    cancellations: Cancellations
    metrics: Metrics
    secret: Secret = field(default_factory=Secret)
    clock: Callable[[], float] = time.time
    suspects: Suspects = field(default_factory=Suspects)
    leads: Callable[[str, str, str], bool] = lambda _agent, topic, pattern: directly(topic, pattern)

    @cached_property
    def emitter(self) -> Emitter:
        """Makes records of the emitted tasks and events."""
        return Emitter(self.bus, self.subjects, self.secret)
