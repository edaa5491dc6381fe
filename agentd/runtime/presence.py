"""Publishes online, heartbeat and offline events of agents, and keeps the registry up to date."""

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
from agentd.runtime.namesakes import namesakes

log = logging.getLogger(__name__)


_FRESH = 1.0  # seconds by which the numbers of a busy agent in the registry may be out of date
_LAST_EVENTS = 3.0  # seconds to record the events of a drain


@dataclass(frozen=True)
class _Event:
    """An event to be recorded as `event.status.{kind}`, kept for `lifetime` seconds if given."""

    kind: str
    content: Mapping[str, Any]
    lifetime: int | None


class Presence:
    """What one process publishes about its agents.

    `refused` returns the problems of an agent's last edit if that was refused, as text.
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
        self._namesakes: set[tuple[str, str]] = set()
        self._last_state: dict[str, tuple[object, ...]] = {}
        self._beats: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._recording: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Starts the heartbeat. After a reconnect it refreshes the registry, which a new server
        process has lost."""
        self._bus.on_reconnect("registry", self.announce_all)
        self._beats = self._bus.background.keep("heartbeat", self._beat)
        self._recording = self._bus.background.keep("status events", self._record_events)

    async def close(self) -> None:
        """Stops the heartbeat, and removes the agents from the registry."""
        if self._beats:
            self._beats.cancel()
        for agent in self._agents():
            await self.offline(agent)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EVENTS):
                await self._events.join()
        if self._recording:
            self._recording.cancel()

    async def online(self, agent: Agent) -> None:
        """Publishes that an agent takes tasks from now on."""
        # Waits: a sender who reads the registry after this must find the agent.
        await self.announce(agent, wait=True)
        self.record(
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
        """Publishes that an agent takes no more tasks."""
        try:
            await registry.withdraw(self._bus, self._subjects.env, agent.name, self.instance)
        except BusError as error:
            log.debug("%s stays in the registry until it expires: %s", agent.name, error)
        self.record("offline", {"event": "agent_offline", "agent": agent.name})

    async def announce(self, agent: Agent, *, wait: bool = False) -> None:
        """Refreshes an agent's entry in the registry. Without a server this does nothing: the
        reconnect refreshes all entries."""
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
            log.debug("the registry entry of %s is not refreshed: %s", agent.name, error)

    async def announce_all(self) -> None:
        """Refreshes every agent's entry."""
        for agent in list(self._agents()):
            await self.announce(agent)

    async def look_for_namesakes(self) -> None:
        """Warns of agents of other processes that have the name of one of ours, each once."""
        ours = [self._replica(agent) for agent in self._agents()]
        try:
            online = await registry.online(self._bus, self._subjects.env)
        except BusError as error:
            log.debug("agents of the same name are not looked for: %s", error)
            return
        for other, text in namesakes(ours, online):
            if (other.agent, other.instance) not in self._namesakes:
                self._namesakes.add((other.agent, other.instance))
                log.warning("%s", text, extra={"agent": other.agent})

    def record(self, kind: str, content: Mapping[str, Any], *, lifetime: int | None = None) -> None:
        """Records `event.status.{kind}` in the log, for `lifetime` seconds if given.

        In the background and in order, so that an edit waits neither for the log nor for a server.
        """
        self._events.put_nowait(_Event(kind, content, lifetime))

    async def _record_events(self) -> None:
        while True:
            event = await self._events.get()
            try:
                await self._store(event)
            except BusError as error:
                log.warning("event.status.%s was not recorded: %s", event.kind, error)
            finally:
                self._events.task_done()

    async def _store(self, event: _Event) -> None:
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

    async def _beat(self) -> None:
        while True:
            for _ in range(max(1, round(self._heartbeat / _FRESH))):
                await asyncio.sleep(min(self._heartbeat, _FRESH))
                await self._announce_busy()
            if not self._bus.connected:
                continue
            await self.announce_all()
            lifetime = max(1, round(self._heartbeat * registry.BEATS_TO_LIVE))
            self.record("heartbeat", self._heartbeat_content(), lifetime=lifetime)

    async def _announce_busy(self) -> None:
        """Refreshes the entries whose numbers have changed, so that `agentd ps` shows recent ones.

        Idle agents cost nothing here; theirs are refreshed by the heartbeat.
        """
        for agent in list(self._agents()):
            state = (agent.in_flight, agent.stats.done, agent.stats.failed, agent.state)
            if self._last_state.get(agent.name) != state and self._bus.connected:
                self._last_state[agent.name] = state
                await self.announce(agent)

    def _heartbeat_content(self) -> dict[str, Any]:
        """One heartbeat for the whole process: 1,000 agents cost one write."""
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
            tokens=stats.spent.usage and stats.spent.usage.total,
            cost=stats.spent.cost,
            started=self._started,
            seen=time.time(),
            description=manifest.description,
            state=agent.state,
            restarts=agent.restarts,
            file=str(agent.file.resolve()),
            cut=stats.cut,
            structured=manifest.output is not None,
            accepts=manifest.accepts,
        )
