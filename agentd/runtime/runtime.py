"""Makes the running agents equal to the manifests: `apply(catalog)`, at the start and at edits."""

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
from agentd.agent.fan_out import directly
from agentd.agent.services import Services
from agentd.catalog.catalog import Catalog
from agentd.catalog.spec import AgentSpec
from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.reach import Reach
from agentd.doors.ending import Ending
from agentd.doors.triggers.intake import Intake
from agentd.doors.triggers.sources import Sources
from agentd.errors import BusError
from agentd.metrics import Metrics
from agentd.models.choose import Models
from agentd.nats import permissions, streams
from agentd.nats.bus import Bus
from agentd.nats.upgrade import upgrade
from agentd.problems import Problem, errors
from agentd.protocol.subjects import Subjects
from agentd.queue.cancellations import Cancellations
from agentd.queue.queue import Queue
from agentd.record.revisions import RevisionRecorder
from agentd.routing.routes import RouteTable
from agentd.run.budget import Budgets
from agentd.runtime.advisories import Advisories
from agentd.runtime.agent_schedules import AgentSchedules
from agentd.runtime.backlog import Backlog
from agentd.runtime.cancellation import CancelRequests
from agentd.runtime.housekeeping import Housekeeper
from agentd.runtime.presence import Presence
from agentd.runtime.resume import Resumer
from agentd.runtime.revision_builder import CannotRun, RevisionBuilder
from agentd.runtime.sharing import AnswerCache, Cooldowns, rate_window
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
        bus.background.on_failure = metrics.background_failure
        self._models = models
        self._revisions = RevisionBuilder(models, tools, settings)
        self._metrics = metrics
        self._cooldowns = Cooldowns(bus, subjects)
        self._share_models()
        self.queue = Queue(bus, subjects)
        metrics.refresh = Backlog(self.queue, metrics).read
        self._routes = RouteTable(bus, settings.env, self._listen_again)
        self._services = self._make_services(subjects)
        self.schedules = AgentSchedules(bus, subjects, self._services.secret)
        self.triggers = Sources(Intake(bus, subjects, self._services.secret), metrics)
        self.resumer = Resumer(bus, subjects)
        self.recorder = RevisionRecorder(bus, settings.env, self._live_specs)
        self._refused: dict[Path, list[str]] = {}
        self._reach = Reach(Topology({}))
        self._applied = False  # once the first catalog is: `up` prints its agents, no log needed
        self._lock = asyncio.Lock()
        self.watchdog = Watchdog()
        self.leaving: set[Agent] = set()
        self._last_work: set[asyncio.Task[None]] = set()  # what a drain waits for
        self.draining, self.drained = Ending(), Ending()  # a drain begins, has ended
        self.presence = Presence(
            bus,
            subjects,
            heartbeat=settings.heartbeat,
            agents=lambda: self.agents.values(),
            refused=lambda agent: self._refused.get(agent.file, []),
        )
        self._housekeeper = self._make_housekeeper()

    def _make_housekeeper(self) -> Housekeeper:
        return Housekeeper(
            bus=self.bus,
            settings=self._settings,
            queue=self.queue,
            presence=self.presence,
            schedules=self.schedules,
            resumer=self.resumer,
            recorder=self.recorder,
            secret=self._services.secret,
        )

    def _make_services(self, subjects: Subjects) -> Services:
        """What the agents of this process share."""
        bus, env = self.bus, self._settings.env
        return Services(
            bus=bus,
            queue=self.queue,
            routes=self._routes,
            subjects=subjects,
            budgets=Budgets(bus, env),
            cancellations=Cancellations(bus, env),
            metrics=self._metrics,
            leads=self._leads,
        )

    def _live_specs(self) -> list[AgentSpec]:
        return [agent.live.spec for agent in self.agents.values()]

    def _leads(self, joiner: str, emitted: str, pattern: str) -> bool:
        return directly(emitted, pattern) or self._reach.leads(joiner, emitted, pattern)

    def _share_models(self) -> None:
        """Connects the models to what replicas share: cooldowns, rates and cached answers."""
        bus, env = self.bus, self._settings.env
        self._models.limiters.share(self._cooldowns)
        self._models.limiters.measure(self._metrics)
        self._models.rates.share(partial(rate_window, bus, env))
        self._models.cache.share(AnswerCache(bus, env))

    async def open(self) -> None:
        """Creates the streams and subscribes to what concerns all agents. No agent runs yet.

        Raises:
            StartError: the server is too old, has no JetStream or no room for the streams, or
                does not allow what agents need.
        """
        await upgrade(self.bus, self._settings)
        await streams.ensure(self.bus, self._settings)
        await permissions.require(self.bus, self._services.subjects)
        await self._services.secret.read(self.bus, self._settings.env)
        await self.queue.open()
        await self._routes.open()
        await self._cooldowns.open()
        await self._services.cancellations.open()
        await CancelRequests(self.bus, self._services.subjects).open()
        await Advisories(self.bus, self._services.subjects).open()
        await self.resumer.open()
        await self.presence.open()
        await self._housekeeper.open()
        await permissions.require_subscriptions(self.bus)
        self.watchdog.start()

    async def apply(self, catalog: Catalog) -> None:
        """Makes the running agents equal to those of `catalog`.

        An agent whose files have an error continues on its live revision, and the error is logged
        once. An agent whose manifest was removed finishes its running tasks.
        """
        async with self._lock:
            if self.draining.is_set():
                return
            refused = self._problems_by_file(catalog)
            self._reach = Reach(catalog.topology)
            # New agents before old ones are removed: when an agent is renamed, there is always one
            # that takes its tasks.
            started = False
            for spec in catalog.agents.values():
                try:
                    started = await self._put(spec) or started
                    self.triggers.keep(spec)
                except CannotRun as error:
                    refused[spec.file] = error.problems
            names = {spec.name for spec in catalog.agents.values()}
            removed = [
                agent
                for name, agent in self.agents.items()
                if name not in names and agent.file not in refused
            ]
            for agent in removed:
                await self._remove(agent)
            self._start("schedules", self.schedules.settle())
            self._start("revisions", self.recorder.settle())
            if started:
                self._start("namesakes", self.presence.look_for_namesakes())
            await self._report_refused(refused)
            self._log_warnings(catalog)
            self._applied = True

    async def drain(self, grace: float) -> None:
        """Takes nothing new, gives running tasks `grace` seconds to finish, hands back the rest."""
        async with self._lock:
            if self.draining.is_set():
                return
            self.draining.set()
            await self.triggers.close()
            await asyncio.gather(*(agent.drain(grace) for agent in self.agents.values()))
            await asyncio.gather(*self._last_work, return_exceptions=True)
            self.drained.set()
        self.watchdog.stop()
        self._housekeeper.close()
        self.resumer.close()
        with contextlib.suppress(BusError):
            await self.presence.close()
        await self.queue.close()

    def hand_back(self) -> None:
        """Ends a drain immediately: hands back the running tasks."""
        for agent in (*self.agents.values(), *self.leaving):
            agent.hand_back()

    def status(self) -> dict[str, Any]:
        """The content of `/readyz`: whether tasks are taken, and what the process waits for."""
        waiting = self.waiting_for()
        return {"ready": not waiting, "waiting_for": waiting, "agents": sorted(self.agents)}

    def waiting_for(self) -> list[str]:
        """What keeps this process from taking tasks, in plain words; empty when it is ready."""
        waiting: list[str] = []
        if not self.bus.connected:
            waiting.append(f"NATS at {self.bus.where}")
        if not self.agents:
            waiting.append("a manifest that loads")
        missing = [why for agent in self.agents.values() for why in agent.live.toolbox.missing]
        waiting += dict.fromkeys(missing)  # once: several agents may use the same MCP server
        failed = self.bus.background.troubles.items()
        waiting += [f"{name}, which failed: {mistake}" for name, mistake in failed]
        if self.draining.is_set():
            waiting.append("the end of the drain")
        return waiting

    async def _put(self, spec: AgentSpec) -> bool:
        """Starts an agent, or makes a new revision of it live; returns whether it was started.

        Raises:
            CannotRun: the agent is not changed.
        """
        agent = self.agents.get(spec.name)
        if agent is not None and agent.live.spec.revision == spec.revision:
            # The same revision, although its file may have another name now.
            agent.live = replace(agent.live, spec=spec)
            if spec.file in self._refused:
                log.info("error fixed; revision %s stays live", spec.revision, extra=_of(spec))
            return False
        live = await self._revisions.build(spec)
        self._start("models", self._models.warm())
        self.schedules.keep(spec)
        self.recorder.keep(spec)
        if agent is None:
            agent = self.agents[spec.name] = Agent(live, self._services)
            await agent.start()
            await self.presence.online(agent)
            if self._applied:
                log.info("started on revision %s", spec.revision, extra=_of(spec))
            return True
        before = agent.live.spec.revision
        await agent.adopt(live)
        self._metrics.reload("reloaded")
        log.info("reloaded: revision %s (was %s)", spec.revision, before, extra=_of(spec))
        await self.presence.announce(agent)
        content = {"agent": agent.name, "revision": spec.revision, "previous": before}
        self.presence.record("reloaded", {"event": "agent_reloaded", **content})
        return False

    async def _remove(self, agent: Agent) -> None:
        """Removes an agent; it finishes its running tasks in the background."""
        del self.agents[agent.name]
        self.schedules.drop(agent.name)
        self.triggers.drop(agent.name)
        log.info("manifest removed; finishing running tasks", extra={"agent": agent.name})
        self._start("drain of a removed agent", self._drain_removed(agent))
        await self.presence.offline(agent)

    async def _drain_removed(self, agent: Agent) -> None:
        self.leaving.add(agent)
        await agent.drain(self._settings.grace)
        # MCP servers end when no toolbox refers to them. The agent may stay in memory for longer:
        # it is part of reference cycles, which the garbage collector frees late.
        agent.live = replace(agent.live, toolbox=Toolbox())
        self.leaving.discard(agent)

    async def _report_refused(self, refused: Mapping[Path, list[Problem]]) -> None:
        """Logs and records the problems of files whose problems are new."""
        before, self._refused = self._refused, {f: _texts(p) for f, p in refused.items()}
        logged: set[Problem] = set()  # several agents may have the same one, in `_defaults.yaml`
        for file, problems in refused.items():
            if self._refused[file] == before.get(file):
                continue
            names = [agent.name for agent in self.agents.values() if agent.file == file]
            self._metrics.reload("rejected")
            for problem in problems:
                if problem not in logged:
                    log.error("%s", problem.render(), extra={"agent": " ".join(names)})
            logged.update(problems)
            content = {
                "event": "agent_rejected",
                "agent": names[0] if names else None,
                "file": str(file),
                "problems": [problem.as_json() for problem in problems],
                "still": self.agents[names[0]].live.spec.revision if names else None,
            }
            self.presence.record("rejected", content)
        await self._announce_refused(before)

    def _log_warnings(self, catalog: Catalog) -> None:
        """Logs each warning once, and again only after it was fixed in between."""
        warnings = frozenset(p for p in catalog.problems if p.severity == "warning")
        for problem in sorted(warnings - self._warned, key=lambda p: (p.file, p.line)):
            log.warning("%s", problem.render())
        self._warned = warnings

    async def _announce_refused(self, before: Mapping[Path, list[str]]) -> None:
        """Updates the registry for agents whose refused edit is new, or fixed."""
        for agent in self.agents.values():
            if before.get(agent.file) != self._refused.get(agent.file):
                await self.presence.announce(agent)

    def _problems_by_file(self, catalog: Catalog) -> dict[Path, list[Problem]]:
        return {file: errors(catalog.problems_of(file)) for file in catalog.broken}

    def _listen_again(self) -> None:
        """Has the agents pull from a new route, if they meet its requirement."""
        for agent in self.agents.values():
            self.bus.background.keep(f"routes of {agent.name}", agent.listen)

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self.bus.background.start(name, work)
        self._last_work.add(task)
        task.add_done_callback(self._last_work.discard)


def _texts(problems: Iterable[Problem]) -> list[str]:
    return [f"{problem.place}: {problem.text}" for problem in problems]


def _of(spec: AgentSpec) -> dict[str, str]:
    """The log field that names an agent."""
    return {"agent": spec.name}
