"""`agentd up`: runs the agents of a folder until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.agent.agent import Agent
    from agentd.runtime.host import Hosted
    from agentd.runtime.state_report import StateReport
    from agentd.settings import Settings

_CLOSED = " (nothing else without a key: there are none, see `agentd keys`)"
_IMPORTED = time.monotonic()


def up(
    manifests: options.Manifests = Path("manifests"),
    prompts: options.Prompts = None,
    env: options.Env = None,
    nats: options.Nats = None,
    http: Annotated[
        str | None,
        typer.Option("--http", help="The HTTP server: host:port or off [127.0.0.1:8000]."),
    ] = None,
    poll: Annotated[
        float | None, typer.Option("--poll", help="Also read the files every so many seconds.")
    ] = None,
    grace: Annotated[
        float | None, typer.Option("--grace", help="Seconds for running tasks to finish [30].")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option("--log-format", help="The format of the log: text or json [text].")
    ] = None,
) -> None:
    """Run the agents of a folder; edits take effect immediately."""
    from agentd.settings import from_environment

    settings = from_environment(
        env=env, nats=nats, http=http, poll=poll, grace=grace, log_format=log_format
    )
    options.run(_up(settings, manifests, prompts))


async def _up(settings: Settings, manifests: Path, prompts: Path | None) -> int:
    from agentd import log
    from agentd.runtime.state_report import StateReport

    log.configure(settings.log_format)
    # Around everything: a start that hangs is what a report is for, and without a handler SIGUSR1
    # would end the process.
    report = StateReport(asyncio.get_running_loop())
    with report.on_signal():
        await _host(settings, manifests, prompts, report)
    return 0


async def _host(
    settings: Settings, manifests: Path, prompts: Path | None, report: StateReport
) -> None:
    """Starts the agents, waits for the signal to stop, and drains them."""
    import logging

    from agentd.runtime.host import hosting

    say = logging.getLogger("agentd").info
    signals = _Signals()
    try:
        async with hosting(settings, manifests, prompts, on_state=say) as hosted:
            # From here on a signal drains the agents. Until now it cancelled their start.
            signals.starting = None
            report.runtime = hosted.runtime
            _say_ready(hosted, settings, _age())
            _settle_memory()
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hosted.watcher.look)
            await signals.stop.wait()
            running = sum(agent.in_flight for agent in hosted.runtime.agents.values())
            say("stopping; %d running tasks; a second signal hands them back now", running)
            hurrying = asyncio.create_task(_hand_back(signals.hurry, hosted))
            await hosted.runtime.drain(settings.grace)
            hurrying.cancel()
    except asyncio.CancelledError:
        if not signals.stop.is_set():
            raise
        say("stopped before it was ready")


def _age() -> float:
    """Seconds since the process began, with its imports; without /proc, since this one."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, AttributeError, ValueError):
        return time.monotonic() - _IMPORTED


class _Signals:
    """Ctrl-C and SIGTERM: the first starts the drain, the second ends it.

    `starting` is the task that starts the agents. While it is set, a signal cancels it.
    """

    def __init__(self) -> None:
        self.stop, self.hurry = asyncio.Event(), asyncio.Event()
        self.starting = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()
        if self.starting:
            self.starting.cancel()


async def _hand_back(hurry: asyncio.Event, hosted: Hosted) -> None:
    await hurry.wait()
    hosted.runtime.hand_back()


def _say_ready(hosted: Hosted, settings: Settings, seconds: float) -> None:
    """Prints a table of the agents and how to ask one; with JSON logs, one record instead."""
    import logging

    agents = sorted(hosted.runtime.agents.values(), key=lambda agent: agent.name)
    count = f"{len(agents)} {'agent' if len(agents) == 1 else 'agents'}"
    ready = f"{count} ready in {seconds:.2f} s"
    where = f"environment {settings.env} · NATS {hosted.bus.where}"
    if hosted.http:
        also, note = ("", _CLOSED) if hosted.app.is_closed else ("API, ", "")
        where += f" · {also}health and metrics {hosted.http}{note}"
    if settings.log_format == "json":
        logging.getLogger("agentd").info("%s · %s", ready, where)
        return
    target = next((c for a in agents for c in a.live.spec.manifest.capabilities), "@agent")
    _table(agents)
    for line in ("", where, f'{ready} · ask one: agentd ask {target} "..."'):
        say(line)


def _table(agents: Sequence[Agent]) -> None:
    rows = table("AGENT", "TAKES", "MODEL", "REVISION")
    for agent in agents:
        spec, model = agent.live.spec, agent.live.model
        shown = (model.name or "none") + (" (mock)" if model.is_mock else "")
        rows.add_row(agent.name, " ".join(spec.manifest.capabilities), shown, spec.revision)
    rows.show()


def _settle_memory() -> None:
    """Tunes the garbage collector for many objects that stay alive.

    Frozen objects are not examined again, and it runs less often: a quarter to a third more tasks
    per second (measured).
    """
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    _give_back()


def _give_back() -> None:
    """Returns memory to the system that imports and compilation used for a moment (glibc only)."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
