"""Everything that `agentd up` starts, in order, and ends in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.catalog.catalog import Catalog
from agentd.errors import UsageError
from agentd.manifest.agent import ModelRef
from agentd.metrics import Metrics
from agentd.models.choose import Models
from agentd.nats.bus import Bus
from agentd.nats.session import serve
from agentd.problems import errors
from agentd.protocol.subjects import Subjects
from agentd.runtime.health import HealthServer
from agentd.runtime.runtime import Runtime
from agentd.runtime.watch import Watcher
from agentd.settings import Settings
from agentd.tools.open import every_kind

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """A process that takes tasks. `http` is where health and metrics are, None when off."""

    bus: Bus
    runtime: Runtime
    watcher: Watcher
    catalog: Catalog
    http: str | None


@contextlib.asynccontextmanager
async def hosting(
    settings: Settings,
    manifests: Path,
    prompts: Path | None,
    *,
    on_state: Callable[[str], None] = log.info,
) -> AsyncGenerator[Hosted]:
    """Runs the agents of `manifests` until the block ends; then drains them.

    Raises:
        UsageError: no folder, or nothing in it loads; the text holds every problem.
        StartError: no server to run on.
    """
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        watcher = Watcher(manifests, prompts, poll=settings.poll)
        catalog = watcher.read()
        _require_agents(catalog, manifests)
        models = Models()
        _require_model(models, catalog, settings)
        stack.push_async_callback(models.close)
        readiness = _Readiness()
        health = HealthServer(settings.http, metrics=metrics, status=readiness.status)
        await health.start()
        stack.push_async_callback(health.close)
        bus = await stack.enter_async_context(serve(settings, on_state))
        tools = every_kind(bus, Subjects(settings.env))
        stack.push_async_callback(tools.close)
        runtime = Runtime(settings, bus, models=models, tools=tools, metrics=metrics)
        await runtime.open()
        stack.push_async_callback(runtime.drain, settings.grace)
        await runtime.apply(catalog)
        readiness.runtime = runtime
        if not runtime.agents:
            raise UsageError("nothing to run: no agent's model and tools can be used; see above")
        watching = asyncio.create_task(watcher.run(runtime.apply))
        stack.callback(watching.cancel)
        yield Hosted(bus=bus, runtime=runtime, watcher=watcher, catalog=catalog, http=health.url)


class _Readiness:
    """What `/readyz` says, from before there is anything to run on."""

    def __init__(self) -> None:
        self.runtime: Runtime | None = None

    def status(self) -> Mapping[str, Any]:
        return self.runtime.status() if self.runtime else {"waiting_for": ["NATS"]}


def _require_agents(catalog: Catalog, manifests: Path) -> None:
    if catalog.agents:
        return
    mistakes = errors(catalog.problems)
    if mistakes:
        raise UsageError("nothing to run:\n" + "\n".join(p.render() for p in mistakes))
    raise UsageError(f"no manifest in {manifests}; write one with `agentd new NAME`")


def _require_model(models: Models, catalog: Catalog, settings: Settings) -> None:
    """The model of agents that name none is this process's own matter: it is wrong for good."""
    if all(spec.manifest.model for spec in catalog.agents.values()):
        return
    problems = models.check(ModelRef.of_setting(settings.model))
    if problems:
        raise UsageError(f"AGENTD_MODEL={settings.model}: {'; '.join(problems)}")
