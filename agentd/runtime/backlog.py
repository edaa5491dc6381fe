"""What waits in the environment, read for the metrics when somebody looks at them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from datetime import datetime

from agentd.errors import BusError, SubjectError
from agentd.metrics import Metrics
from agentd.nats import jetstream
from agentd.nats.jetstream import ApiError
from agentd.nats.streams import LOG, SCHEDULES, WORK
from agentd.protocol.subjects import parse_work
from agentd.queue import held
from agentd.queue.bands import WorkConsumers, route_of
from agentd.queue.queue import Queue

log = logging.getLogger(__name__)

_FRESH = 5.0  # seconds for which what was read counts: anyone may ask for the metrics, all the time
_PATIENCE = 3.0  # seconds for all that is read; a scraper waits 10 seconds by default
_NO_CONSUMER = frozenset({10014})
_AT_ONCE = 16  # bands that are read at the same time


class Backlog:
    """Reads the approvals and dead letters of the environment, which all of its processes show
    alike, and the queues of the routes that this process serves."""

    def __init__(self, queue: Queue, metrics: Metrics) -> None:
        self._bus = queue.bus
        self._subjects = queue.subjects
        self._queue = queue
        self._metrics = metrics
        self._read_at = -math.inf
        self._known = True  # when it was read last

    async def read(self) -> None:
        """Reads it, unless that was a moment ago. If the server does not answer, nothing is known:
        an old number would look like a quiet queue."""
        if time.monotonic() < self._read_at + _FRESH:
            return
        self._read_at = time.monotonic()
        try:
            if not self._bus.connected:
                raise BusError("no server is connected")
            async with asyncio.timeout(_PATIENCE):
                suspended = self._subjects.schedule("approval", "*")
                dead = self._subjects.pattern("dlq.*.*")
                self._metrics.waiting(
                    approvals=await held.count(self._bus, SCHEDULES, suspended),
                    dead_letters=await held.count(self._bus, LOG, dead),
                    queues=await self._queues(),
                )
        except (BusError, TimeoutError) as error:
            if self._known:  # and not at every scrape
                why = str(error) or "no answer in time"
                log.warning("the metrics of what waits are unknown: %s", why)
            self._known = False
            self._metrics.waiting(approvals=math.nan, dead_letters=math.nan, queues={})
        else:
            self._known = True

    async def _queues(self) -> dict[str, tuple[int, float]]:
        """How many tasks wait on each route, and since how many seconds the oldest."""
        served = {
            route.name: route.source
            for route in self._queue.open_routes
            if route.pullers and isinstance(route.source, WorkConsumers)
        }
        found: dict[str, tuple[int, float]] = dict.fromkeys(served, (0, 0.0))
        limit = asyncio.Semaphore(_AT_ONCE)

        async def add(route: str, band: int, tasks: int) -> None:
            async with limit:
                depth, age = await _waiting(served[route], band, tasks)
                found[route] = found[route][0] + depth, max(found[route][1], age)

        bands = (await self._held()).items()
        ours = (add(route, band, tasks) for (route, band), tasks in bands if route in served)
        await asyncio.gather(*ours)
        return found

    async def _held(self) -> Counter[tuple[str, int]]:
        """How many tasks WORK has of each route and priority, running ones included."""
        found: Counter[tuple[str, int]] = Counter()
        work = await held.counts(self._bus, WORK, self._subjects.all_work)
        for subject, count in work.items():
            with contextlib.suppress(SubjectError):  # a stranger's
                task = parse_work(subject)
                found[route_of(task), task.priority] += count
        return found


async def _waiting(source: WorkConsumers, band: int, tasks: int) -> tuple[int, float]:
    """How many tasks of a band no agent has yet, and since when the oldest waits."""
    bus, seen, running = source.bus, 0, 0
    try:
        info = await jetstream.api(bus, f"CONSUMER.INFO.{WORK}.{source.consumer(band)}")
        seen, running = info["delivered"]["stream_seq"], info["num_ack_pending"]
    except ApiError as error:  # it is made when its first task rings
        if error.code not in _NO_CONSUMER:
            raise
    depth = max(0, tasks - running)
    oldest = None
    if depth:
        oldest = await held.first(bus, WORK, source.pattern(band), start=seen + 1)
    if oldest is None:
        return depth, 0.0
    stored = datetime.fromisoformat((oldest.headers or {})["Nats-Time-Stamp"])
    return depth, max(0.0, time.time() - stored.timestamp())
