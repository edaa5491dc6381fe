"""`agentd up`: runs the agents of a folder until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli import options

if TYPE_CHECKING:
    from agentd.host import Hosted
    from agentd.settings import Settings


def up(
    manifests: options.Manifests = Path("manifests"),
    prompts: options.Prompts = None,
    env: options.Env = None,
    nats: options.Nats = None,
    http: Annotated[
        str | None,
        typer.Option("--http", help="Health and metrics: host:port or off [127.0.0.1:8000]."),
    ] = None,
    poll: Annotated[
        float | None, typer.Option("--poll", help="Also look at the files every so many seconds.")
    ] = None,
    grace: Annotated[
        float | None, typer.Option("--grace", help="Seconds that running tasks get to finish [30].")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option("--log-format", help="text or json [text].")
    ] = None,
) -> None:
    """Run the agents of a folder; edits take effect meanwhile."""
    from agentd.settings import from_environment

    settings = from_environment(
        env=env, nats=nats, http=http, poll=poll, grace=grace, log_format=log_format
    )
    options.run(_up(settings, manifests, prompts))


async def _up(settings: Settings, manifests: Path, prompts: Path | None) -> int:
    import logging

    from agentd import log
    from agentd.host import hosting

    started = time.monotonic()
    log.configure(settings.log_format)
    stop, hurry = _signals()
    say = logging.getLogger("agentd").info
    async with hosting(settings, manifests, prompts, on_state=say) as hosted:
        if settings.log_format == "text":
            _welcome(hosted, settings, time.monotonic() - started)
        _settle_memory()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hosted.watcher.look)
        await stop.wait()
        running = sum(agent.in_flight for agent in hosted.runtime.agents.values())
        say("stopping: %d tasks to finish (again to hand them back now)", running)
        hurrying = asyncio.create_task(_hand_back(hurry, hosted))
        await hosted.runtime.drain(settings.grace)
        hurrying.cancel()
    return 0


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first and by the second Ctrl-C or SIGTERM."""
    first, second = asyncio.Event(), asyncio.Event()

    def told() -> None:
        (second if first.is_set() else first).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told)
    return first, second


async def _hand_back(hurry: asyncio.Event, hosted: Hosted) -> None:
    await hurry.wait()
    hosted.runtime.hand_back()


def _welcome(hosted: Hosted, settings: Settings, seconds: float) -> None:
    from agentd.cli.console import console, table

    rows = table("AGENT", "TAKES", "MODEL", "REVISION")
    agents = sorted(hosted.runtime.agents.values(), key=lambda agent: agent.name)
    for agent in agents:
        spec, model = agent.live.spec, agent.live.model
        shown = model.name + (" (mock)" if model.is_mock else "")
        rows.add_row(agent.name, " ".join(spec.manifest.capabilities), shown, spec.revision)
    rows.show()
    target = next((c for a in agents for c in a.live.spec.manifest.capabilities), "@agent")
    where = f"environment {settings.env} · NATS {hosted.bus.where}"
    for line in (
        "",
        where + (f" · health and metrics {hosted.http}" if hosted.http else ""),
        f'{len(agents)} agents ready in {seconds:.2f} s · ask one: agentd ask {target} "..."',
    ):
        console().print(line, markup=False)


def _settle_memory() -> None:
    """What is loaded now stays: keep the garbage collector from walking it at every turn."""
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
