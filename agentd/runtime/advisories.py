"""What the server says of tasks that its consumers will not deliver again.

The consumers of agentd have no limit of deliveries. An operator may have set one: then the server
drops a message without asking agentd, and says so in an advisory. Any client may publish such an
advisory. So it is only a reason to ask the server.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentd.errors import BusError, Undeliverable
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.records import headers_in, skipping
from agentd.nats.streams import WORK
from agentd.protocol.server_subjects import consumer_advisory
from agentd.protocol.shape import Shape
from agentd.protocol.subjects import Subjects, matches
from agentd.queue import held
from agentd.queue.delivery import parcel
from agentd.runtime.dead_lettering import dead_letter

log = logging.getLogger(__name__)

_READINGS, _PAUSE = 20, 0.1  # of a consumer that is busy, and the seconds between two
_LARGEST = 16 * 1024  # bytes of an advisory


@dataclass(frozen=True)
class _Advisory:
    """An advisory about a message, `stream_seq` in WORK, and one of its consumers."""

    consumer: str
    stream_seq: int
    reason: str = ""


_advisory: Shape[_Advisory] = Shape(_Advisory, most=_LARGEST)


class Advisories:
    """Subscribes to the advisories of the server about the tasks of one environment.

    All processes of an environment form one queue group, so one of them acts on each advisory.
    """

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def open(self) -> None:
        """Subscribes."""
        group = self._subjects.group
        given_up = consumer_advisory("MAX_DELIVERIES", WORK)
        await self._bus.subscribe(given_up, self._on_given_up, group)
        terminated = consumer_advisory("MSG_TERMINATED", WORK)
        await self._bus.subscribe(terminated, self._on_terminated, group)

    def _read(self, msg: Msg) -> _Advisory | None:
        """The advisory in a message, if it is for this environment: those of others arrive too."""
        with skipping(WORK, msg):
            advisory = _advisory.parse(msg.data)
            if re.fullmatch(rf"{self._subjects.env}\+[A-Za-z0-9_+-]{{1,200}}", advisory.consumer):
                return advisory
        return None

    async def _on_given_up(self, msg: Msg) -> None:
        """The server has delivered a task as often as its consumer allows."""
        if advisory := self._read(msg):
            try:
                await self._dead_letter(advisory)
            except BusError as error:
                log.warning("a task that the server gave up is not dead-lettered: %s", error)

    async def _on_terminated(self, msg: Msg) -> None:
        """Another program removed a task from WORK. The log still has it."""
        if advisory := self._read(msg):
            reason = advisory.reason or "no reason given"
            log.warning("a task was terminated on %s: %s", advisory.consumer, reason)

    async def _dead_letter(self, advisory: _Advisory) -> None:
        found = await jetstream.api(
            self._bus, f"STREAM.MSG.GET.{WORK}", {"seq": advisory.stream_seq}
        )
        raw: dict[str, str] = found["message"]
        deliveries = await self._limit_reached(advisory.consumer, raw["subject"])
        if not deliveries:
            return
        given_up = parcel(
            base64.b64decode(raw.get("data", "")),
            headers_in(raw.get("hdrs", "")) | {"Nats-Subject": raw["subject"]},
            attempt=deliveries,
            stored_at=datetime.fromisoformat(raw["time"]).timestamp(),
        )
        error = Undeliverable(f"the server gave up after {deliveries} deliveries", code="given_up")
        await dead_letter(self._bus, self._subjects, given_up, error, sequence=advisory.stream_seq)

    async def _limit_reached(self, consumer: str, subject: str) -> int:
        """The limit of deliveries of a consumer of `subject`; 0 if it has none, or if it will still
        deliver, or is waiting for, every message that it has.

        The server has no question for one message. But what it holds of all is what waits, what is
        in the hands of a process, and what it has given up.
        """
        for _ in range(_READINGS):
            before = await self._consumer(consumer)
            limit, pattern = (before["config"].get(x) for x in ("max_deliver", "filter_subject"))
            if not pattern or not matches(pattern, subject) or limit < 1:
                return 0
            kept = await held.count(self._bus, WORK, pattern)
            after = await self._consumer(consumer)
            if _counts(before) == _counts(after):
                is_one = kept > after["num_pending"] + after["num_ack_pending"]
                return limit if is_one else 0
            await asyncio.sleep(_PAUSE)
        raise BusError(f"{consumer} is too busy to tell what it gave up")

    async def _consumer(self, name: str) -> dict[str, Any]:
        return await jetstream.api(self._bus, f"CONSUMER.INFO.{WORK}.{name}")


def _counts(info: Mapping[str, Any]) -> tuple[Any, ...]:
    """What changes with each message that arrives at a consumer, or leaves it."""
    names = ("delivered", "ack_floor", "num_pending", "num_ack_pending")
    return tuple(info[name] for name in names)
