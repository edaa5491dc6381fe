"""What a door may use of its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agentd.catalog.spec import AgentSpec
from agentd.metrics import Metrics
from agentd.nats.bus import Bus
from agentd.protocol.subjects import Subjects
from agentd.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What a door may use of its process.

    Attributes:
        specs: returns the agents that run here, by name. `routing.registry` knows those of all
            processes.
        draining: set when the process begins to end. A stream then says `retry:` and ends, and a
            handler that waits for a result answers without it.
    """

    bus: Bus
    subjects: Subjects
    settings: Settings
    metrics: Metrics
    specs: Callable[[], Mapping[str, AgentSpec]]
    draining: asyncio.Event
