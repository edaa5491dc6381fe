"""Answers kept in a bucket for identical requests, by digest."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable

from agentd.errors import BusError
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import CACHE, bucket

log = logging.getLogger(__name__)


class Answers:
    """The answers of an environment. `clock` gives seconds since the epoch.

    What the server does not give or take is only not cached: its trouble is not the task's.
    """

    def __init__(self, bus: Bus, env: str, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._subject = f"{bucket(CACHE)}.{env}"
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
