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
from collections.abc import Callable, Generator, Iterable, Sequence
from types import FrameType
from typing import Any, NamedTuple

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
            every = (*self.runtime.agents.values(), *self.runtime.leaving)
            agents = sorted(every, key=lambda agent: agent.name)
            running = _running(agents)
            _write("agents", agents, _agent)
            _write("running tasks", running)
            _write("routes", _routes(self.runtime, running))
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
        connection = f"connected to {bus.where}, version {bus.info.get('version', '?')}"
        lines.append(f"NATS: {connection if bus.connected else f'not connected to {bus.where}'}")
        lines.append(f"waiting for: {', '.join(self.runtime.waiting_for()) or 'nothing'}")
        lines.append(
            f"event loop: blocked {watchdog.stalls} times, for {watchdog.longest:.1f} s at most"
        )
        return lines


def _agent(agent: Agent) -> str:
    spec, stats = agent.live.spec, agent.stats
    restarts = f", restarted {agent.restarts} times" if agent.restarts else ""
    return (
        f"{agent.name}: revision {spec.revision}, {agent.state}, "
        f"{agent.in_flight} of {spec.manifest.limits.concurrency} running, "
        f"{stats.done:,} done, {stats.failed:,} failed{restarts}"
    )


class _Running(NamedTuple):
    agent: str
    task: asyncio.Task[None]
    running: RunningTask

    def __str__(self) -> str:
        delivery, since = self.running
        age, runs = time.time() - delivery.stored_at, time.monotonic() - since
        return (
            f"{task_of(delivery).id} on {delivery.subject}: attempt {delivery.attempt}, "
            f"stored {age:,.1f} s ago, running for {runs:,.1f} s, "
            f"agent {self.agent}, in {stacks.of_task(self.task)}"
        )


def _running(agents: Iterable[Agent]) -> list[_Running]:
    """The tasks in flight, the one that runs longest first."""
    found = [
        _Running(agent.name, task, running)
        for agent in agents
        for task, running in agent.running.items()
    ]
    return sorted(found, key=lambda each: each.running.since)


class _Held(NamedTuple):
    """A route, and how many of its deliveries this process holds."""

    route: Route
    deliveries: int

    def __str__(self) -> str:
        bands = enumerate(self.route.bands)
        hinted = " ".join(str(priority) for priority, band in bands if band.hint)
        waiting = f"bands {hinted} may hold tasks" if hinted else "no band is known to hold tasks"
        agents = len(self.route.pullers)
        return (
            f"{self.route.name}: {agents} agent{'' if agents == 1 else 's'}, "
            f"{self.deliveries} deliveries held, {waiting}"
        )


def _routes(runtime: Runtime, running: Iterable[_Running]) -> list[_Held]:
    """Every route of this process, the busiest first."""
    held = Counter(each.running.delivery.route for each in running)
    found = [_Held(route, held[route.name]) for route in runtime.queue.open_routes]
    return sorted(found, key=lambda each: (-each.deliveries, each.route.name))


def _write(title: str, items: Sequence[object], show: Callable[[Any], str] = str) -> None:
    """Logs a line for each item, in as many records as their length needs.

    Only what is shown is formatted: with thousands of tasks the event loop would wait.
    """
    lines = [show(item)[:_LINE] for item in items[:_LINES]] or ["none"]
    if len(items) > _LINES:
        lines.append(f"{len(items) - _LINES:,} more are not shown")
    size, record = 0, list[str]()
    for line in lines:
        if record and size + len(line) > _RECORD:
            log.info("state report, %s:\n%s", title, "\n".join(record))
            size, record = 0, []
        size += len(line) + 1
        record.append(line)
    log.info("state report, %s:\n%s", title, "\n".join(record))
