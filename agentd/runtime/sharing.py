"""Shares with the other replicas: cooldowns of endpoints, what rates have left, cached answers."""

from __future__ import annotations

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
from agentd.nats.records import skipping
from agentd.nats.shared_value import Shared
from agentd.nats.streams import CACHE, RATES
from agentd.protocol import strict_json
from agentd.protocol.server_subjects import bucket
from agentd.protocol.shape import Shape
from agentd.protocol.subjects import Subjects, digest

log = logging.getLogger(__name__)

_head: Shape[dict[str, float]] = Shape(dict[str, float], most=100)


class Cooldowns:
    """Announces cooldowns to the replicas of an environment, and receives theirs, over core NATS.

    Nothing is stored: a replica that starts later gets the same answer from the endpoint itself.
    An announcement has seconds and no time of day, since clocks differ; so a replica waits a little
    too long rather than too short.
    """

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subject = subjects.cooldown
        self._instance = secrets.token_hex(8)
        self._listeners: list[Callable[[str, float], None]] = []

    async def open(self) -> None:
        """Subscribes to the announcements of other replicas."""
        await self._bus.subscribe(self._subject, self._on_message)

    def announce(self, endpoint: str, seconds: float) -> None:
        """Asks the other replicas not to call `endpoint` for so many seconds from now."""
        # Without a server nats-py would keep the message, and send it when it is no longer true.
        if not self._bus.connected:
            return
        announcement = {"endpoint": endpoint, "seconds": seconds, "from": self._instance}
        data = json.dumps(announcement).encode()
        self._bus.background.start("announcement of a cooldown", self._send(data))

    def on_announce(self, heard: Callable[[str, float], None]) -> None:
        """Calls `heard(endpoint, seconds)` for every announcement of another replica."""
        self._listeners.append(heard)

    async def _send(self, data: bytes) -> None:
        try:
            await self._bus.publish(self._subject, data)
        except BusError as error:
            log.warning("a cooldown was not announced to the other replicas: %s", error)

    async def _on_message(self, msg: Msg) -> None:
        try:
            raw: Any = strict_json.parse(msg.data)
            endpoint, seconds, instance = raw["endpoint"], float(raw["seconds"]), raw["from"]
        except (DecodeError, TypeError, KeyError, ValueError) as error:
            log.warning("%s: invalid announcement of a cooldown: %s", msg.subject, error)
            return
        # NATS also delivers our own announcements to us.
        if instance == self._instance or not math.isfinite(seconds) or seconds <= 0:
            return
        for listener in self._listeners:
            listener(str(endpoint), seconds)


def rate_window(bus: Bus, env: str, key: str, allowance: Allowance) -> Shared[Window]:
    """The window of the rate `key`. The server drops it once no call in it counts any more."""
    subject = bucket(RATES, env, digest(key))
    ttl = math.ceil(2 * allowance.period)
    return Shared(bus, RATES, subject, parse=Window.parse, ttl=ttl)


class AnswerCache:
    """The cached answers of an environment. `clock` returns seconds since the epoch.

    Errors of the server are logged and not raised: without a cache the model is called.
    """

    def __init__(self, bus: Bus, env: str, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._subject = bucket(CACHE, env)
        self._clock = clock

    async def get(self, key: str, seconds: float) -> bytes | None:
        """The answer stored under this key in the last `seconds`, or None."""
        try:
            msg = await jetstream.last(self._bus, CACHE, f"{self._subject}.{key}")
        except BusError as error:
            log.warning("the cache of answers cannot be read: %s", error)
            return None
        if msg is None or not msg.data:  # empty: the server marks an answer that has expired
            return None
        # An agent with a longer `cache` may have stored it: here it may be too old.
        head, _, data = msg.data.partition(b"\n")
        with skipping(CACHE, msg):
            if self._clock() - _head.parse(head)["at"] < seconds:
                return data
        return None

    async def put(self, key: str, data: bytes, seconds: float) -> None:
        """Stores `data` for so many seconds."""
        head = json.dumps({"at": self._clock()}).encode()
        ttl = {"Nats-TTL": f"{math.ceil(seconds)}s"}
        try:
            await self._bus.request(f"{self._subject}.{key}", head + b"\n" + data, headers=ttl)
        except BusError as error:
            log.warning("an answer was not cached: %s", error)
