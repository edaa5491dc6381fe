"""Writes to the log what the process is doing, when it receives SIGUSR1.

For an operator whose agentd does not do what it should: agents, running tasks, routes, and the
stack of every asyncio task and thread. Nothing is collected until the signal arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator
from types import FrameType

from agentd import __version__
from agentd.agent.agent import Agent, RunningTask
from agentd.queue.bands import Route
from agentd.runtime import stacks
from agentd.runtime.dead_lettering import task_of
from agentd.runtime.runtime import Runtime

log = logging.getLogger(__name__)

# Bounds of one report: lines of a section, characters of a line, stacks, and characters of one log
# record (which the log itself cuts at 8,000).
_LINES, _LINE, _STACKS, _RECORD = 200, 500, 100, 7_000
_KILOBYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


class StateReport:
    """The report of one process. `runtime` is None until the agents run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.runtime: Runtime | None = None
        self._loop = loop
        self._started = time.monotonic()

    @contextlib.contextmanager
    def on_signal(self) -> Generator[None]:
        """Writes a report at every SIGUSR1 until the block ends. For the main thread only.

        Not through `loop.add_signal_handler`: a report is most wanted when the event loop does not
        turn. Python runs this handler between two instructions of the main thread, so it works
        while any Python code keeps the loop busy, and what it reads does not change under it.
        """
        previous = signal.signal(signal.SIGUSR1, self._on_signal)
        signal.siginterrupt(signal.SIGUSR1, False)
        try:
            yield
        finally:
            signal.signal(signal.SIGUSR1, previous)

    def write(self, interrupted: FrameType | None = None) -> None:
        """Writes one report in several log records, all of which begin with "state report".

        `interrupted` is where the main thread was when the signal arrived.
        """
        _write("process", self._process())
        if self.runtime:
            _write("agents", _agents(self.runtime))
            _write("running tasks", _running(self.runtime))
            _write("routes", _routes(self.runtime))
        blocks = stacks.of_tasks(asyncio.all_tasks(self._loop))
        for block in blocks[:_STACKS]:
            _write("asyncio stack", block)
        if len(blocks) > _STACKS:
            _write("asyncio stack", [f"{len(blocks) - _STACKS:,} more stacks are not shown"])
        _write("threads", stacks.of_threads(interrupted))

    def _on_signal(self, _: int, interrupted: FrameType | None) -> None:
        try:
            self.write(interrupted)
        except Exception:  # it would surface in whatever code the signal has interrupted
            log.exception("the state report failed")

    def _process(self) -> list[str]:
        seconds = time.monotonic() - self._started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTES / 1e6
        lines = [
            f"agentd {__version__}, process {os.getpid()}, up for {seconds:,.0f} s, "
            f"at most {peak:,.0f} MB of memory"
        ]
        if self.runtime is None:
            return [*lines, "starting: no agent runs yet"]
        bus, watchdog = self.runtime.bus, self.runtime.watchdog
        connection = f"connected to {bus.where}, version {bus.server[0]}"
        lines.append(f"NATS: {connection if bus.connected else f'not connected to {bus.where}'}")
        lines.append(f"waiting for: {', '.join(self.runtime.waiting_for()) or 'nothing'}")
        lines.append(
            f"event loop: blocked {watchdog.stalls} times, for {watchdog.longest:.1f} s at most"
        )
        return lines


def _agents(runtime: Runtime) -> list[str]:
    lines = [_agent(agent) for _, agent in sorted(runtime.agents.items())]
    lines += [f"{_agent(agent)}, manifest removed" for agent in runtime.leaving]
    return lines or ["none"]


def _agent(agent: Agent) -> str:
    spec, stats = agent.live.spec, agent.stats
    restarts = f", restarted {agent.restarts} times" if agent.restarts else ""
    return (
        f"{agent.name}: revision {spec.revision}, {agent.state}, "
        f"{agent.in_flight} of {spec.manifest.limits.concurrency} running, "
        f"{stats.done:,} done, {stats.failed:,} failed{restarts}"
    )


def _running(runtime: Runtime) -> list[str]:
    """The tasks in flight, the one that runs longest first."""
    found = [
        (running.since, f"{_task(running)}, agent {agent.name}, in {stacks.of_task(task)}")
        for agent in _all_agents(runtime)
        for task, running in agent.running.items()
    ]
    return [line for _, line in sorted(found)] or ["none"]


def _task(running: RunningTask) -> str:
    delivery = running.delivery
    age, runs = time.time() - delivery.stored_at, time.monotonic() - running.since
    return (
        f"{task_of(delivery).id} on {delivery.subject}: attempt {delivery.attempt}, "
        f"stored {age:,.1f} s ago, running for {runs:,.1f} s"
    )


def _routes(runtime: Runtime) -> list[str]:
    """Every route of this process, with the deliveries that it holds, the busiest first."""
    held = Counter(
        running.delivery.route
        for agent in _all_agents(runtime)
        for running in agent.running.values()
    )
    routes = runtime.queue._routes.values()  # pyright: ignore[reportPrivateUsage]
    found = sorted(routes, key=lambda route: (-held[route.name], route.name))
    return [_route(route, held[route.name]) for route in found] or ["none"]


def _all_agents(runtime: Runtime) -> Iterator[Agent]:
    yield from runtime.agents.values()
    yield from runtime.leaving


def _route(route: Route, held: int) -> str:
    """A hinted band is one that may hold tasks: it is pulled next."""
    hinted = [str(priority) for priority, band in enumerate(route.bands) if band.hint]
    agents = f"{len(route.pullers)} agent{'' if len(route.pullers) == 1 else 's'}"
    bands = f"bands {' '.join(hinted)} may hold tasks" if hinted else "no band is known to hold any"
    return f"{route.name}: {agents}, {held} deliveries held, {bands}"


def _write(title: str, lines: list[str]) -> None:
    """Logs the lines below a title, in as many records as their length needs."""
    shown = [line[:_LINE] for line in lines[:_LINES]]
    if len(lines) > _LINES:
        shown.append(f"{len(lines) - _LINES:,} more are not shown")
    size, record = 0, list[str]()
    for line in shown:
        if record and size + len(line) > _RECORD:
            log.info("state report, %s:\n%s", title, "\n".join(record))
            size, record = 0, []
        size += len(line) + 1
        record.append(line)
    log.info("state report, %s:\n%s", title, "\n".join(record))
