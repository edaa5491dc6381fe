"""One agent in this process: it pulls tasks, and runs each on the live revision."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from agentd.agent.handler import Handler
from agentd.agent.queries import Queries
from agentd.agent.services import Services
from agentd.agent.stats import AgentStats
from agentd.protocol.subjects import AGENT_DOMAIN
from agentd.queue.delivery import Delivery
from agentd.queue.fact_consumer import FactConsumer, patterns
from agentd.queue.queue import Puller
from agentd.run.revision import Revision

log = logging.getLogger(__name__)

_LAST_PULL = 3.0
_FAILING = 5  # failed tasks in a row from which on the state of the agent says so
_TOOLS = 0.5  # seconds between two checks for required tools that are missing


class RunningTask(NamedTuple):
    """A delivery that an agent is handling, and since when (seconds of the monotonic clock)."""

    delivery: Delivery
    since: float


class Agent:
    """A running agent. An edit replaces `live`; what runs already finishes on its old revision."""

    def __init__(self, live: Revision, services: Services) -> None:
        self.live = live
        self.stats = AgentStats()
        self.restarts = 0
        self.trouble = ""
        self._services = services
        self._handler = Handler(live.spec.name, self.stats, services)
        self._queries = Queries(services, lambda: self.live, self._handler.count)
        self._puller: Puller = services.queue.puller()
        self._facts = FactConsumer(services.queue, live.spec.name)
        self._running: dict[asyncio.Task[None], RunningTask] = {}
        self._listening = asyncio.Lock()
        self._room = asyncio.Event()
        self._stopping = False
        self._pulling: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.live.spec.name

    @property
    def file(self) -> Path:
        return self.live.spec.file

    @property
    def state(self) -> str:
        """`ready`, or in words why it is not."""
        if self._stopping:
            return "draining"
        if self.trouble:
            return self.trouble
        if missing := self.live.toolbox.missing:
            return f"waiting for {'; '.join(missing)}"
        if self.stats.failing >= _FAILING:
            return f"failing: {self.stats.last_error}"
        return "ready"

    @property
    def in_flight(self) -> int:
        """How many tasks it is running now."""
        return len(self._running)

    @property
    def running(self) -> Mapping[asyncio.Task[None], RunningTask]:
        """The tasks that it is running now, by the asyncio task that handles each."""
        return self._running

    async def start(self) -> None:
        """Takes tasks from now on."""
        await self.listen()
        background = self._services.bus.background
        self._pulling = background.keep(
            f"pull {self.name}", self._pull_while_open, on_trouble=self._on_trouble
        )

    async def adopt(self, live: Revision) -> None:
        """Answers every task that starts from now on with this revision."""
        before, self.live = self.live, live
        self._room.set()
        if _listens_to(before) != _listens_to(live):
            await self.listen()

    async def drain(self, grace: float) -> None:
        """Pulls nothing more, gives running tasks `grace` seconds to end, hands back the rest."""
        self._stopping = True
        self._room.set()
        await self._puller.close()
        await self._queries.close()
        await self._facts.close()
        if self._pulling:
            # It returns immediately, unless it waits for a server that is away, or to be restarted.
            await asyncio.wait([self._pulling], timeout=0.0 if self.trouble else _LAST_PULL)
            self._pulling.cancel()
        await self._puller.close_inbox()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace)
            self.hand_back()
            await asyncio.gather(*late, return_exceptions=True)
        self._services.metrics.forget(self.name)

    def hand_back(self) -> None:
        """Hands running tasks back to the server now."""
        for task in self._running:
            task.cancel()

    async def listen(self) -> None:
        """Listens to everything that the agent may take: its capabilities, its name, the routes
        whose requirement it meets, and the facts that it subscribes to or joins."""
        capabilities = self.live.spec.manifest.capabilities
        own = f"{AGENT_DOMAIN}.{self.name}"
        routes = self._services.routes.routes_for(self.name, capabilities)
        async with self._listening:
            facts = await self._facts.listen(self.live.spec.manifest)
            await self._puller.listen([*capabilities, own, *routes], *facts)
            await self._queries.listen(capabilities)

    def _on_trouble(self, mistake: str) -> None:
        """A bug in the pull loop costs this agent a pause; other agents are not affected."""
        self.trouble = f"restarting: {mistake}" if mistake else ""
        self.restarts += bool(mistake)

    async def _pause(self, seconds: float) -> None:
        """Waits, or until a drain begins."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._stopping:
                    self._room.clear()
                    await self._room.wait()

    async def _pull_while_open(self) -> None:
        while not self._stopping:
            # In a variable, the toolbox of an old revision would stay open while a pull waits.
            if self.live.toolbox.entries and self.live.toolbox.missing:
                await self._pause(_TOOLS)
                continue
            room = self.live.spec.manifest.limits.concurrency - self.in_flight
            if room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            for delivery in await self._puller.pull(room):
                self._begin(delivery)

    def _begin(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._handler.handle(delivery, self.live))
        self._running[task] = RunningTask(delivery, time.monotonic())
        self._services.metrics.in_flight(self.name, self.in_flight)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        self._services.metrics.in_flight(self.name, self.in_flight)
        self._room.set()
        if not task.cancelled() and (error := task.exception()):
            log.error(
                "a task was handed back: %s", error, exc_info=error, extra={"agent": self.name}
            )


def _listens_to(live: Revision) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What an agent takes work from, according to its manifest."""
    return live.spec.manifest.capabilities, patterns(live.spec.manifest)
