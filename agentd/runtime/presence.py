"""Signs of life: online, heartbeat and offline on record, and the registry kept up to date."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.agent.agent import Agent
from agentd.errors import BusError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.protocol.message import AgentIdentity, Context, Routing, encode, new
from agentd.protocol.subjects import Subjects
from agentd.routing import registry
from agentd.routing.registry import Replica

log = logging.getLogger(__name__)


_FRESH = 1.0  # seconds that the numbers of a busy agent may be old


_LAST_WORDS = 3.0  # seconds that the events of a drain get to be recorded


@dataclass(frozen=True)
class _Event:
    kind: str
    content: Mapping[str, Any]
    lifetime: int | None


class Presence:
    """What one process says about its agents.

    `refused` tells the problems of an agent's last edit that was not taken.
    """

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        *,
        heartbeat: float,
        agents: Callable[[], Iterable[Agent]],
        refused: Callable[[Agent], list[str]],
    ) -> None:
        self.instance = secrets.token_hex(4)
        self._bus = bus
        self._subjects = subjects
        self._heartbeat = heartbeat
        self._agents = agents
        self._refused = refused
        self._started = time.time()
        self._last_state: dict[str, tuple[object, ...]] = {}
        self._beats: asyncio.Task[None] | None = None
        self._told: asyncio.Queue[_Event] = asyncio.Queue()
        self._teller: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Starts the heartbeat, and fills again a registry that was lost with its server."""
        self._bus.on_reconnect(self.announce_all)
        self._beats = asyncio.create_task(self._keep_beating())
        self._teller = asyncio.create_task(self._keep_telling())

    async def close(self) -> None:
        """Stops the heartbeat; agents still online are taken off."""
        if self._beats:
            self._beats.cancel()
        for agent in self._agents():
            await self.offline(agent)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._told.join()
        if self._teller:
            self._teller.cancel()

    async def online(self, agent: Agent) -> None:
        """An agent takes tasks from now on."""
        await self.announce(agent, wait=True)
        self.tell(
            "online",
            {
                "event": "agent_online",
                "agent": agent.name,
                "capabilities": list(agent.live.spec.manifest.capabilities),
                "model": agent.live.model.name,
                "revision": agent.live.spec.revision,
            },
        )

    async def offline(self, agent: Agent) -> None:
        """An agent takes no more tasks."""
        try:
            await registry.withdraw(self._bus, self._subjects.env, agent.name, self.instance)
        except BusError as error:
            log.debug("%s is not withdrawn: %s", agent.name, error)
        self.tell("offline", {"event": "agent_offline", "agent": agent.name})

    async def announce(self, agent: Agent, *, wait: bool = False) -> None:
        """Refreshes an agent's entry in the registry; without a server, when there is one."""
        if not self._bus.connected:
            return
        try:
            await registry.announce(
                self._bus,
                self._subjects.env,
                self._replica(agent),
                heartbeat=self._heartbeat,
                wait=wait,
            )
        except BusError as error:
            log.debug("%s is not announced: %s", agent.name, error)

    async def announce_all(self) -> None:
        """Refreshes every entry."""
        for agent in list(self._agents()):
            await self.announce(agent)

    def tell(self, kind: str, content: Mapping[str, Any], *, lifetime: int | None = None) -> None:
        """Puts `event.status.{kind}` on record, for `lifetime` seconds if given.

        In the background and in order: an edit does not wait for the log, nor for a server.
        """
        self._told.put_nowait(_Event(kind, content, lifetime))

    async def _keep_telling(self) -> None:
        while True:
            event = await self._told.get()
            try:
                await self._record(event)
            except BusError as error:
                log.warning("event.status.%s was not recorded: %s", event.kind, error)
            finally:
                self._told.task_done()

    async def _record(self, event: _Event) -> None:
        message = new(
            "event",
            {**event.content, "instance": self.instance},
            source=AgentIdentity(id=str(event.content.get("agent", self.instance)), type="agent"),
            context=Context(conversation_id="system"),
            routing=Routing(priority=0),
        )
        await jetstream.store(
            self._bus,
            self._subjects.event("status", event.kind),
            encode(message),
            message_id=message.id,
            headers={"Nats-TTL": f"{event.lifetime}s"} if event.lifetime else None,
        )

    async def _keep_beating(self) -> None:
        while True:
            for _ in range(max(1, round(self._heartbeat / _FRESH))):
                await asyncio.sleep(min(self._heartbeat, _FRESH))
                await self._announce_busy()
            if not self._bus.connected:
                continue
            await self.announce_all()
            lifetime = max(1, round(self._heartbeat * registry.BEATS_TO_LIVE))
            self.tell("heartbeat", self._pulse(), lifetime=lifetime)

    async def _announce_busy(self) -> None:
        """Refreshes the entries whose numbers have changed: `ps` is a second old at most."""
        for agent in list(self._agents()):
            state = (agent.in_flight, agent.stats.done, agent.stats.failed, agent.state)
            if self._last_state.get(agent.name) != state and self._bus.connected:
                self._last_state[agent.name] = state
                await self.announce(agent)

    def _pulse(self) -> dict[str, Any]:
        """One heartbeat for the whole process, so that 1,000 agents cost one write."""
        return {
            "event": "heartbeat",
            "agents": {agent.name: {"inFlight": agent.in_flight} for agent in self._agents()},
        }

    def _replica(self, agent: Agent) -> Replica:
        manifest, stats = agent.live.spec.manifest, agent.stats
        return Replica(
            agent=agent.name,
            instance=self.instance,
            host=socket.gethostname(),
            pid=os.getpid(),
            capabilities=list(manifest.capabilities),
            model=agent.live.model.name,
            mock=agent.live.model.is_mock,
            revision=agent.live.spec.revision,
            refused=self._refused(agent),
            done=stats.done,
            failed=stats.failed,
            in_flight=agent.in_flight,
            concurrency=manifest.limits.concurrency,
            p50=stats.p50,
            tokens=stats.tokens,
            cost=None if stats.cost_unknown else stats.cost,
            started=self._started,
            seen=time.time(),
            description=manifest.description,
            state=agent.state,
            restarts=agent.restarts,
        )
