"""Tells other replicas that a model's endpoint asked to be left alone, and hears it from them."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
import time
from collections.abc import Callable
from typing import Any

from agentd.errors import BusError, DecodeError
from agentd.manifest.rate import Allowance, Window
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.shared_value import Shared
from agentd.nats.streams import CACHE, RATES
from agentd.protocol import strict_json
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import Subjects, digest

log = logging.getLogger(__name__)


class Cooldowns:
    """Announcements between the replicas of one environment, on a subject of core NATS.

    Nothing is stored: who was not there learns it from the endpoint itself. Seconds are sent, not a
    time of day, since clocks differ; so a replica waits a little too long rather than too short.
    """

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subject = subjects.cooldown
        self._instance = secrets.token_hex(8)
        self._listeners: list[Callable[[str, float], None]] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listens to the other replicas."""
        await self._bus.subscribe(self._subject, self._on_message)

    def announce(self, endpoint: str, seconds: float) -> None:
        """Tells the others that nobody is to call `endpoint` for so many seconds from now."""
        # What nats-py keeps for a server that is away would arrive when it is no longer true.
        if not self._bus.connected:
            return
        told = {"endpoint": endpoint, "seconds": seconds, "from": self._instance}
        task = asyncio.create_task(self._send(json.dumps(told).encode()))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def on_announce(self, heard: Callable[[str, float], None]) -> None:
        """Calls `heard(endpoint, seconds)` for every announcement of another replica."""
        self._listeners.append(heard)

    async def _send(self, data: bytes) -> None:
        try:
            await self._bus.publish(self._subject, data)
        except BusError as error:
            log.warning("no other replica hears of a cooldown: %s", error)

    async def _on_message(self, msg: Msg) -> None:
        try:
            told: Any = strict_json.parse(msg.data)
            endpoint, seconds, instance = told["endpoint"], float(told["seconds"]), told["from"]
        except (DecodeError, TypeError, KeyError, ValueError) as error:
            log.warning("%s: not an announcement: %s", msg.subject, error)
            return
        if instance == self._instance or not math.isfinite(seconds) or seconds <= 0:
            return
        for heard in self._listeners:
            heard(str(endpoint), seconds)


def rate_window(bus: Bus, env: str, key: str, allowance: Allowance) -> Shared[Window]:
    """The window of the rate `key`; it is dropped when nothing in it can count any more."""
    subject = bucket(RATES, env, digest(key))
    ttl = math.ceil(2 * allowance.period)
    return Shared(bus, RATES, subject, parse=Window.parse, ttl=ttl)


class Answers:
    """The answers of an environment. `clock` gives seconds since the epoch.

    What the server does not give or take is only not cached: its trouble is not the task's.
    """

    def __init__(self, bus: Bus, env: str, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._subject = bucket(CACHE, env)
        self._clock = clock

    async def get(self, key: str, seconds: float) -> bytes | None:
        """What was kept in the last `seconds` under this key."""
        try:
            msg = await jetstream.last(self._bus, CACHE, f"{self._subject}.{key}")
        except BusError as error:
            log.warning("no cached answer is looked for: %s", error)
            return None
        if msg is None or not msg.data:  # empty: the server's mark of one that expired
            return None
        # Another agent may keep its answers for longer than this one believes them.
        head, _, data = msg.data.partition(b"\n")
        return data if self._clock() - json.loads(head)["at"] < seconds else None

    async def put(self, key: str, data: bytes, seconds: float) -> None:
        """Keeps `data` for so many seconds."""
        head = json.dumps({"at": self._clock()}).encode()
        ttl = {"Nats-TTL": f"{math.ceil(seconds)}s"}
        try:
            await self._bus.request(f"{self._subject}.{key}", head + b"\n" + data, headers=ttl)
        except BusError as error:
            log.warning("an answer is not cached: %s", error)
