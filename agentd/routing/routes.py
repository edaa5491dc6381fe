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


async def announce(bus: Bus, env: str, requirement: Requirement) -> None:
    """Stores the requirement under its signature, where every process reads it.

    Raises:
        BusError: it could not be stored.
    """
    subject = bucket(ROUTES, env, requirement.signature)
    data = requirement.canonical()
    await jetstream.store(bus, subject, data, message_id=f"{env}.{requirement.signature}")


class RouteTable:
    """The announced routes of an environment. `on_change` is called for each new one."""

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
            requirement = Requirement.parse(msg.data)
            if requirement.signature not in self._known:
                self._known[requirement.signature] = requirement
                self._on_change()
