"""Starts everything that `agentd up` needs, in order, and stops it in reverse."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agentd.catalog.catalog import Catalog
from agentd.doors.app import App
from agentd.doors.backend import Backend
from agentd.doors.key_file import KeyFile
from agentd.doors.keys import Keys
from agentd.doors.limits import Limits
from agentd.doors.server import HttpServer
from agentd.errors import UsageError
from agentd.manifest.agent import ModelRef
from agentd.metrics import Metrics
from agentd.models.choose import Models
from agentd.nats.bus import Bus
from agentd.nats.session import serve
from agentd.problems import errors
from agentd.protocol.message import new_id
from agentd.protocol.subjects import Subjects
from agentd.record.audit.keeper import Keeper
from agentd.record.audit.keys import read_file
from agentd.runtime.cancellation import cancel
from agentd.runtime.runtime import Runtime
from agentd.runtime.watch import Watcher
from agentd.settings import Settings
from agentd.telemetry.start import telemetry
from agentd.tools.open import every_kind

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """The parts of a process that takes tasks. `http` is the URL of its HTTP server, None when
    off."""

    bus: Bus
    runtime: Runtime
    watcher: Watcher
    catalog: Catalog
    http: str | None
    app: App


@contextlib.asynccontextmanager
async def hosting(
    settings: Settings,
    manifests: Path,
    prompts: Path | None,
    *,
    on_state: Callable[[str], None] = log.info,
) -> AsyncGenerator[Hosted]:
    """Runs the agents of `manifests` until the block ends; then drains them.

    Files and models are checked first, so that an error in them ends the process before it waits
    for a server. `on_state` receives the states of the connection, in plain words.

    Raises:
        UsageError: no folder, or nothing in it loads; the text has every problem.
        StartError: the server, or the HTTP address, cannot be used.
    """
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(telemetry(settings.env, metrics))
        watcher = Watcher(manifests, prompts, poll=settings.poll)
        catalog = watcher.read()
        _require_agents(catalog, manifests)
        models = Models()
        _require_model(models, catalog, settings)
        stack.push_async_callback(models.close)
        readiness = _Readiness()
        server, app = _http(settings, metrics, readiness)
        # Before the connection: `/readyz` answers while the process waits for a server.
        await server.start(app)
        stack.push_async_callback(server.close)
        bus = await stack.enter_async_context(serve(settings, on_state))
        stack.push_async_callback(server.last_answers)
        tools = every_kind(bus, Subjects(settings.env))
        stack.push_async_callback(tools.close)
        # Ends after the drain: the last results are covered too.
        keep_audit = await stack.enter_async_context(_audit(settings, bus, metrics))
        runtime = Runtime(settings, bus, models=models, tools=tools, metrics=metrics)
        await runtime.open()
        stack.push_async_callback(runtime.drain, settings.grace)
        keep_audit()
        await runtime.apply(catalog)
        readiness.runtime = runtime
        if not runtime.agents:
            raise UsageError("nothing to run: the model or a tool of every agent failed; see above")
        app.open(_backend(runtime, settings, metrics))
        watching = bus.background.keep("watch on the files", partial(watcher.run, runtime.apply))
        stack.callback(watching.cancel)
        yield Hosted(
            bus=bus, runtime=runtime, watcher=watcher, catalog=catalog, http=server.url, app=app
        )


def _http(settings: Settings, metrics: Metrics, readiness: _Readiness) -> tuple[HttpServer, App]:
    """The HTTP server, which does not listen yet, and its application.

    Raises:
        UsageError: the address or the file of keys is wrong.
    """
    limits = Limits()
    server = HttpServer(settings.http, limits)
    keys = Keys(KeyFile(settings.key_file), needed=bool(settings.keys))
    if settings.http != "off":
        keys.read()
    return server, App(
        bound=server.host, keys=keys, metrics=metrics, limits=limits, status=readiness.status
    )


@contextlib.asynccontextmanager
async def _audit(
    settings: Settings, bus: Bus, metrics: Metrics
) -> AsyncGenerator[Callable[[], None]]:
    """What starts to keep the tree over the log, once there are streams; nothing if that is off.

    Raises:
        UsageError: the key of the audit cannot be used.
    """
    if settings.audit == "off":
        yield lambda: None
        return
    key = read_file(Path(settings.audit_key)) if settings.audit_key else None
    keeper = Keeper(bus, settings.env, new_id(), key=key, on_lag=metrics.audit_lag)
    try:
        yield keeper.open
    finally:
        await keeper.close()


def _backend(runtime: Runtime, settings: Settings, metrics: Metrics) -> Backend:
    """What the doors may use of this process."""
    return Backend(
        bus=runtime.bus,
        subjects=Subjects(settings.env),
        settings=settings,
        metrics=metrics,
        specs=lambda: {name: agent.live.spec for name, agent in runtime.agents.items()},
        draining=runtime.draining,
        drained=runtime.drained,
        cancel=cancel,
    )


class _Readiness:
    """What `/readyz` shows, from before the agents run."""

    def __init__(self) -> None:
        self.runtime: Runtime | None = None

    def status(self) -> Mapping[str, Any]:
        return self.runtime.status() if self.runtime else {"waiting_for": ["NATS"]}


def _require_agents(catalog: Catalog, manifests: Path) -> None:
    if catalog.agents:
        return
    problems = errors(catalog.problems)
    if problems:
        raise UsageError("nothing to run:\n" + "\n".join(p.render() for p in problems))
    raise UsageError(f"no manifest in {manifests}; create one with `agentd new NAME`")


def _require_model(models: Models, catalog: Catalog, settings: Settings) -> None:
    """Checks the model of agents that name none. It is a setting: no edit of a file can fix it.

    Raises:
        UsageError: the model cannot be used.
    """
    if all(spec.manifest.model for spec in catalog.agents.values()):
        return
    problems = models.check(ModelRef.of_setting(settings.model))
    if problems:
        raise UsageError(f"AGENTD_MODEL={settings.model}: {'; '.join(problems)}")
