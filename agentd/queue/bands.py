"""The tasks of one kind as a process knows them: ten bands of priority, and which may hold some."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from agentd.protocol.subjects import RESERVED_DOMAINS, Subject

_LOOKS = (0.02, 0.1, 0.5)  # seconds until a band that rang for nothing is looked at again


class ConsumerSource(Protocol):
    """The consumers behind a route."""

    @property
    def stream(self) -> str:
        """The stream that they are on."""
        ...

    def consumer(self, priority: int) -> str:
        """The name of a band's consumer."""
        ...

    async def make(self, priority: int) -> None:
        """Makes the consumer of a band, or finds it made.

        Raises:
            BusError: the server does not answer, or does not make it.
        """
        ...


class Sleeper(Protocol):
    """Whoever pulls from a route, and sleeps while nothing is there."""

    def wake(self) -> None:
        """Something may be there."""
        ...


@dataclass(eq=False)
class Band:
    """One priority of a route.

    Attributes:
        hint: it may hold something.
        rung: how often it rang in all.
        made: its consumer is there.
        due: the rings that no task has come of.
        looks: how often it was looked at again since.
        doubted: it will be looked at again in a moment.
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
    """Where tasks of one kind wait: a domain, `_agent.{name}`, or the facts of an agent."""

    name: str
    source: ConsumerSource
    bands: tuple[Band, ...] = field(default_factory=lambda: tuple(Band() for _ in range(10)))
    pullers: set[Sleeper] = field(default_factory=lambda: set[Sleeper]())

    def ring(self, priority: int) -> None:
        self.bands[priority].ring()
        self._wake()

    def look_again(self, priority: int) -> None:
        """To be called when a band is found empty: it rang, so something may be on its way. The
        server rings before its consumers know of the task, by a moment that is long when it is
        busy."""
        band = self.bands[priority]
        if band.due and not band.doubted and band.looks < len(_LOOKS):
            band.doubted = True
            asyncio.get_running_loop().call_later(_LOOKS[band.looks], self._look, band)
            band.looks += 1
        elif not band.doubted:
            band.due = 0  # a replica has it

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
