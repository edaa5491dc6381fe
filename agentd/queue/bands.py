"""A route as one process sees it: ten priority bands, hints which hold tasks, and consumers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import SECOND, WORK
from agentd.protocol.subjects import RESERVED_DOMAINS, Subject, Subjects

ACK_WAIT = 15.0  # seconds without a progress report until the server delivers a task again
_IDLE_CONSUMER = 24 * 3600.0
_LOOKS = (0.02, 0.1, 0.5)  # seconds until a band that rang, but was empty, is pulled again


class ConsumerSource(Protocol):
    """The consumers behind a route."""

    @property
    def stream(self) -> str:
        """The stream that the consumers are on."""
        ...

    def consumer(self, priority: int) -> str:
        """The name of the consumer of one band."""
        ...

    async def make(self, priority: int) -> None:
        """Creates the consumer of one band, unless it exists.

        Raises:
            BusError: the server does not answer, or refuses to create it.
        """
        ...


class Sleeper(Protocol):
    """A puller of a route, which sleeps while no band holds anything."""

    def wake(self) -> None:
        """Reports that a band may hold something."""
        ...


@dataclass(eq=False)
class Band:
    """One priority of a route.

    Attributes:
        hint: whether the band may hold something.
        rung: how often the doorbell rang for it, in all.
        made: whether its consumer exists.
        due: the rings for which no task has arrived yet.
        looks: how often the band was pulled again since the last ring.
        doubted: whether it will be pulled again in a moment.
    """

    hint: bool = False
    rung: int = 0
    made: bool = False
    due: int = 0
    looks: int = 0
    doubted: bool = False

    def ring(self) -> None:
        self.rung += 1
        self.due += 1
        self.looks = 0
        self.hint = True


@dataclass(eq=False)
class Route:
    """The tasks that share a queue: of a domain, of `_agent.{name}`, or the facts of an agent."""

    name: str
    source: ConsumerSource
    bands: tuple[Band, ...] = field(default_factory=lambda: tuple(Band() for _ in range(10)))
    pullers: set[Sleeper] = field(default_factory=lambda: set[Sleeper]())

    def ring(self, priority: int) -> None:
        self.bands[priority].ring()
        self._wake()

    def look_again(self, priority: int) -> None:
        """Schedules another pull of a band that rang but was found empty.

        The server rings the doorbell before its consumers know of the task; when it is busy, the
        time between the two is long. Without another look, the task would wait for the next sweep.
        """
        band = self.bands[priority]
        if band.due and not band.doubted and band.looks < len(_LOOKS):
            band.doubted = True
            asyncio.get_running_loop().call_later(_LOOKS[band.looks], self._look, band)
            band.looks += 1
        elif not band.doubted:
            band.due = 0  # another replica has pulled the task

    def _look(self, band: Band) -> None:
        band.doubted = False
        band.hint = True
        self._wake()

    def _wake(self) -> None:
        for puller in self.pullers:
            puller.wake()


def route_of(task: Subject) -> str:
    """The name of the route on which a task waits."""
    if task.domain in RESERVED_DOMAINS:
        return f"{task.domain}.{task.specificity}"
    return task.domain


def consumer_name(env: str, route: str, priority: int) -> str:
    """The consumer of one band. `+` cannot occur in a token, so no two routes share one."""
    return f"{env}+{route.replace('.', '+')}+{priority}"


def consumer_config(name: str, *, idle: float) -> dict[str, Any]:
    """What all consumers of agents share. The server deletes one that is not pulled for `idle`
    seconds."""
    return {
        "durable_name": name,
        "name": name,
        "ack_policy": "explicit",
        "ack_wait": int(ACK_WAIT * SECOND),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "inactive_threshold": int(idle * SECOND),
    }


@dataclass(frozen=True)
class WorkConsumers:
    """The consumers of a route on WORK: a `ConsumerSource`."""

    bus: Bus
    subjects: Subjects
    route: str
    stream: str = WORK

    def consumer(self, priority: int) -> str:
        return consumer_name(self.subjects.env, self.route, priority)

    def pattern(self, priority: int) -> str:
        """The stored work of one band."""
        domain, _, one = self.route.partition(".")
        return self.subjects.work(domain, one or None, priority=priority)

    async def make(self, priority: int) -> None:
        name, pattern = self.consumer(priority), self.pattern(priority)
        config = {**consumer_config(name, idle=_IDLE_CONSUMER), "filter_subject": pattern}
        request = {"stream_name": WORK, "config": config}
        await jetstream.api(self.bus, f"CONSUMER.DURABLE.CREATE.{WORK}.{name}", request)
