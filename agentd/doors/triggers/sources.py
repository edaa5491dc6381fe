"""The triggers of this process that no request starts: subjects, folders, and callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agentd.background import Work
from agentd.catalog.spec import AgentSpec
from agentd.doors.triggers.callbacks import Callbacks
from agentd.doors.triggers.file_source import FileSource
from agentd.doors.triggers.intake import Intake
from agentd.doors.triggers.nats_source import NatsSource
from agentd.manifest.triggers.trigger import Trigger
from agentd.metrics import Metrics
from agentd.tools.web.fetch import Web

Key = tuple[str, str]  # the agent, and the name of the work


@dataclass(frozen=True)
class _Running:
    """A source at work; `trigger` is None for the callbacks of an agent."""

    trigger: Trigger | None
    task: asyncio.Task[None]


class Sources:
    """The sources of all agents of this process. Each is supervised background work.

    A source of an agent that is edited goes on with the new revision. It is started anew only if
    its own trigger was edited.
    """

    def __init__(self, intake: Intake, metrics: Metrics) -> None:
        self._intake = intake
        self._metrics = metrics
        self._web = Web()
        self._specs: dict[str, AgentSpec] = {}
        self._running: dict[Key, _Running] = {}

    def keep(self, spec: AgentSpec) -> None:
        """Runs exactly the sources of this agent from now on."""
        self._specs[spec.name] = spec
        wanted = {(spec.name, name): (trigger, make) for name, trigger, make in self._works(spec)}
        for key, running in [*self._running.items()]:
            if key[0] == spec.name and (key not in wanted or wanted[key][0] != running.trigger):
                self._running.pop(key).task.cancel()
        for key, (trigger, make) in wanted.items():
            if key not in self._running:
                task = self._intake.bus.background.keep(f"{key[1]} of {key[0]}", make())
                self._running[key] = _Running(trigger, task)

    def drop(self, agent: str) -> None:
        """Ends the sources of an agent."""
        for key in [key for key in self._running if key[0] == agent]:
            self._running.pop(key).task.cancel()

    async def close(self) -> None:
        """Ends all sources. What they have begun is handed back to the server."""
        running, self._running = [each.task for each in self._running.values()], {}
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._web.close()

    def _works(self, spec: AgentSpec) -> Iterator[tuple[str, Trigger | None, Callable[[], Work]]]:
        """The sources of an agent: the name of the work, the trigger, and what makes the work."""

        def now() -> AgentSpec:
            return self._specs[spec.name]

        for trigger in spec.manifest.triggers:
            if trigger.kind in ("nats", "files"):
                kind = NatsSource if trigger.kind == "nats" else FileSource
                source = (self._intake, self._metrics, trigger, now)
                make: Callable[[], Work] = lambda kind=kind, source=source: kind(*source).run  # noqa: E731
                yield f"trigger {trigger.name}", trigger, make
        if any(trigger.callback for trigger in spec.manifest.triggers):
            web = self._web
            yield "callbacks", None, lambda: Callbacks(self._intake, web, self._metrics, now).run
