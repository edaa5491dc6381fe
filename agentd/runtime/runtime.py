"""Makes what runs equal to what the files say: `apply(catalog)`, at the start and at every edit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from agentd.agent.agent import Agent
from agentd.agent.services import Services
from agentd.catalog.catalog import Catalog
from agentd.catalog.spec import AgentSpec
from agentd.errors import BusError
from agentd.metrics import Metrics
from agentd.models.choose import Models
from agentd.nats import streams
from agentd.nats.bus import Bus
from agentd.problems import Problem, errors
from agentd.protocol.subjects import Subjects
from agentd.queue.cancellations import Cancellations
from agentd.queue.queue import Queue
from agentd.routing.routes import RouteTable
from agentd.run.budget import Budgets
from agentd.runtime.agent_schedules import Timetable
from agentd.runtime.cancellation import CancelRequests
from agentd.runtime.dead_lettering import Advisories
from agentd.runtime.housekeeping import Housekeeper
from agentd.runtime.presence import Presence
from agentd.runtime.resume import Resumer
from agentd.runtime.revision_builder import CannotRun, Revisions
from agentd.runtime.sharing import Answers, Cooldowns, rate_window
from agentd.runtime.watchdog import Watchdog
from agentd.settings import Settings
from agentd.tools.open import Tools
from agentd.tools.toolbox import Toolbox

log = logging.getLogger(__name__)


class Runtime:
    """All agents of one process."""

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        *,
        models: Models,
        tools: Tools,
        metrics: Metrics,
    ) -> None:
        subjects = Subjects(settings.env)
        self.agents: dict[str, Agent] = {}
        self._warned: frozenset[Problem] = frozenset()
        self._settings = settings
        self.bus = bus
        self._models = models
        self._revisions = Revisions(models, tools, settings)
        self._metrics = metrics
        self._cooldowns = Cooldowns(bus, subjects)
        self._share_models()
        self.queue = Queue(bus, subjects)
        self._routes = RouteTable(bus, settings.env, self._listen_again)
        self._services = self._lent(subjects)
        self.timetable = Timetable(bus, subjects)
        self.resumer = Resumer(bus, subjects)
        self._refused: dict[Path, list[str]] = {}
        self._applied = False  # once; whoever comes later is told in the log
        self._turn = asyncio.Lock()
        self.watchdog = Watchdog()
        self.leaving: set[Agent] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._draining = False
        self.presence = Presence(
            bus,
            subjects,
            heartbeat=settings.heartbeat,
            agents=lambda: self.agents.values(),
            refused=lambda agent: self._refused.get(agent.file, []),
        )
        self._housekeeper = Housekeeper(
            bus,
            settings,
            queue=self.queue,
            presence=self.presence,
            timetable=self.timetable,
            resumer=self.resumer,
        )

    def _lent(self, subjects: Subjects) -> Services:
        """What this process lends to its agents."""
        bus, env = self.bus, self._settings.env
        return Services(
            bus=bus,
            queue=self.queue,
            routes=self._routes,
            subjects=subjects,
            budgets=Budgets(bus, env),
            cancellations=Cancellations(bus, env),
            metrics=self._metrics,
        )

    def _share_models(self) -> None:
        """Lets replicas know of cooldowns, of what rates have left, and of answers given before."""
        bus, env = self.bus, self._settings.env
        self._models.limiters.share(self._cooldowns)
        self._models.limiters.measure(self._metrics)
        self._models.rates.share(partial(rate_window, bus, env))
        self._models.cache.share(Answers(bus, env))

    async def open(self) -> None:
        """Makes the streams and listens to the doorbell; no agent runs yet.

        Raises:
            StartError: the server is not one that agentd can run on.
        """
        await streams.ensure(self.bus, self._settings)
        await self.queue.open()
        await self._routes.open()
        await self._cooldowns.open()
        await self._services.cancellations.open()
        await CancelRequests(self.bus, self._services.subjects).open()
        await Advisories(self.bus, self._services.subjects).open()
        await self.resumer.open()
        await self.presence.open()
        await self._housekeeper.open()
        self.watchdog.start()

    async def apply(self, catalog: Catalog) -> None:
        """Brings what runs in line with `catalog`, new before old.

        An agent whose files have a mistake stays as it is; the mistake is told once. An agent whose
        manifest is gone finishes what it has begun.
        """
        async with self._turn:
            if self._draining:
                return
            refused = self._problems_by_file(catalog)
            for spec in catalog.agents.values():
                try:
                    await self._put(spec)
                except CannotRun as error:
                    refused[spec.file] = error.problems
            stays = {spec.name for spec in catalog.agents.values()}
            gone = [
                agent
                for name, agent in self.agents.items()
                if name not in stays and agent.file not in refused
            ]
            for agent in gone:
                await self._remove(agent)
            self._do_meanwhile(self.timetable.settle())
            await self._tell_refused(refused)
            self._tell_warnings(catalog)
            self._applied = True

    async def drain(self, grace: float) -> None:
        """Takes nothing more, gives running tasks `grace` seconds to end, hands back the rest."""
        async with self._turn:
            if self._draining:
                return
            self._draining = True
            await asyncio.gather(*(agent.drain(grace) for agent in self.agents.values()))
            await asyncio.gather(*self._background)
        self.watchdog.stop()
        self._housekeeper.close()
        self.resumer.close()
        with contextlib.suppress(BusError):
            await self.presence.close()
        await self.queue.close()

    def hand_back(self) -> None:
        """Ends a drain at once: running tasks go back to be delivered again."""
        for agent in (*self.agents.values(), *self.leaving):
            agent.hand_back()

    def status(self) -> dict[str, Any]:
        """What `/readyz` says: whether tasks are taken, and what is waited for if not."""
        waiting = self.waiting_for()
        return {"ready": not waiting, "waiting_for": waiting, "agents": sorted(self.agents)}

    def waiting_for(self) -> list[str]:
        """What keeps this process from taking tasks, in words; empty when it is ready."""
        waiting: list[str] = []
        if not self.bus.connected:
            waiting.append(f"NATS at {self.bus.where}")
        if not self.agents:
            waiting.append("a manifest that loads")
        missing = [why for agent in self.agents.values() for why in agent.live.toolbox.missing]
        waiting += dict.fromkeys(missing)  # agents share servers
        if self._draining:
            waiting.append("the end: it is draining")
        return waiting

    async def _put(self, spec: AgentSpec) -> None:
        """Starts an agent, or hands a running one its new revision.

        Raises:
            CannotRun: it stays as it is.
        """
        agent = self.agents.get(spec.name)
        if agent is not None and agent.live.spec.revision == spec.revision:
            agent.live = replace(agent.live, spec=spec)  # the same, though perhaps of another file
            if spec.file in self._refused:
                log.info("mended; still on revision %s", spec.revision, extra={"agent": spec.name})
            return
        live = await self._revisions.make(spec)
        self._do_meanwhile(self._models.warm())
        self.timetable.keep(spec)
        if agent is None:
            agent = self.agents[spec.name] = Agent(live, self._services)
            await agent.start()
            await self.presence.online(agent)
            if self._applied:
                log.info("new, on revision %s", spec.revision, extra={"agent": agent.name})
            return
        before = agent.live.spec.revision
        await agent.adopt(live)
        self._metrics.reload("reloaded")
        log.info("now on revision %s (was %s)", spec.revision, before, extra={"agent": agent.name})
        await self.presence.announce(agent)
        content = {"agent": agent.name, "revision": spec.revision, "previous": before}
        self.presence.tell("reloaded", {"event": "agent_reloaded", **content})

    async def _remove(self, agent: Agent) -> None:
        """Takes an agent off; what it has begun is finished in the background."""
        del self.agents[agent.name]
        self.timetable.drop(agent.name)
        log.info("its manifest is gone; finishing what it has begun", extra={"agent": agent.name})
        self._do_meanwhile(self._let_go(agent))
        await self.presence.offline(agent)

    async def _let_go(self, agent: Agent) -> None:
        self.leaving.add(agent)
        await agent.drain(self._settings.grace)
        # The servers of its tools end when nobody holds them; an agent that is gone may be held for
        # long, by itself.
        agent.live = replace(agent.live, toolbox=Toolbox())
        self.leaving.discard(agent)

    async def _tell_refused(self, refused: Mapping[Path, list[Problem]]) -> None:
        before, self._refused = self._refused, {f: _said(p) for f, p in refused.items()}
        told: set[Problem] = set()  # many agents may share a mistake
        for file, problems in refused.items():
            if self._refused[file] == before.get(file):
                continue
            names = [agent.name for agent in self.agents.values() if agent.file == file]
            self._metrics.reload("rejected")
            for problem in problems:
                if problem not in told:
                    log.error("%s", problem.render(), extra={"agent": " ".join(names)})
            told.update(problems)
            content = {
                "event": "agent_rejected",
                "agent": names[0] if names else None,
                "file": str(file),
                "problems": [problem.as_json() for problem in problems],
                "still": self.agents[names[0]].live.spec.revision if names else None,
            }
            self.presence.tell("rejected", content)
        await self._refresh(before)

    def _tell_warnings(self, catalog: Catalog) -> None:
        """Tells each warning once, for as long as it stands."""
        warnings = frozenset(p for p in catalog.problems if p.severity == "warning")
        for problem in sorted(warnings - self._warned, key=lambda p: (p.file, p.line)):
            log.warning("%s", problem.render())
        self._warned = warnings

    async def _refresh(self, before: Mapping[Path, list[str]]) -> None:
        """Tells the registry of agents whose refused edit is new, or mended."""
        for agent in self.agents.values():
            if before.get(agent.file) != self._refused.get(agent.file):
                await self.presence.announce(agent)

    def _problems_by_file(self, catalog: Catalog) -> dict[Path, list[Problem]]:
        return {file: errors(catalog.problems_of(file)) for file in catalog.broken}

    def _listen_again(self) -> None:
        """A route is new: agents that are fit for it take work from it, too."""
        for agent in self.agents.values():
            self._do_meanwhile(agent.listen())

    def _do_meanwhile(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _said(problems: Iterable[Problem]) -> list[str]:
    return [f"{problem.place}: {problem.text}" for problem in problems]
