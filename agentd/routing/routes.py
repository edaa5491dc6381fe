"""Routes of requirements: for tasks that need several capabilities, or exclude agents.

Such a task is published to `task._route.{signature}`, and exactly the agents that meet the
requirement pull it. A bucket has the requirement of each signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.records import skipping
from agentd.nats.streams import ROUTES
from agentd.protocol.destination import Requirement
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import ROUTE_DOMAIN

MOST_ROUTES = 500  # that the agents of a process listen to; senders choose requirements
KEPT = 90 * 86_400  # seconds that a route is known after a task was last sent to it


async def announce(bus: Bus, env: str, requirement: Requirement) -> None:
    """Stores the requirement under its signature, where every process reads it.

    Raises:
        BusError: it could not be stored.
    """
    subject = bucket(ROUTES, env, requirement.signature)
    data = requirement.canonical()
    await jetstream.store(
        bus,
        subject,
        data,
        message_id=f"{env}.{requirement.signature}",
        headers={"Nats-TTL": f"{KEPT}s"},
    )


class RouteTable:
    """The announced routes of an environment, at most `MOST_ROUTES`: those that were announced
    last. `on_change` is called when there are others."""

    def __init__(self, bus: Bus, env: str, on_change: Callable[[], None]) -> None:
        self._bus = bus
        self._env = env
        self._on_change = on_change
        self._known: dict[str, Requirement] = {}

    async def open(self) -> None:
        """Subscribes to new routes, and reads those that were announced before.

        Raises:
            BusError: the bucket does not answer.
        """
        await self._bus.subscribe(bucket(ROUTES, self._env, "*"), self._on_route)
        self._bus.on_reconnect("routes", self._read)
        await self._read()

    def routes_for(self, agent: str, capabilities: Iterable[str]) -> list[str]:
        """The names of the routes whose requirement this agent meets."""
        held = set(capabilities)
        return [
            f"{ROUTE_DOMAIN}.{signature}"
            for signature, requirement in self._known.items()
            if requirement.met_by(agent, held)
        ]

    async def _read(self) -> None:
        async for msg in jetstream.stored(self._bus, ROUTES, bucket(ROUTES, self._env, "*")):
            await self._on_route(msg)

    async def _on_route(self, msg: Msg) -> None:
        if not msg.data:
            return  # the marker of a removed key
        with skipping(ROUTES, msg):
            self._know(Requirement.parse(msg.data))

    def _know(self, requirement: Requirement) -> None:
        known = self._known.pop(requirement.signature, None)
        self._known[requirement.signature] = requirement  # at the end
        if known is None:
            # A task on a route that was dropped waits until another one is sent there: each
            # sender announces its route.
            for oldest in list(self._known)[:-MOST_ROUTES]:
                del self._known[oldest]
            self._on_change()
