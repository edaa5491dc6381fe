"""A route as one process sees it: ten priority bands, and hints which of them hold tasks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from agentd.protocol.subjects import RESERVED_DOMAINS, Subject

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
