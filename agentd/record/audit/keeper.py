"""Keeps the tree of an environment: adds the messages of the log, signs and stores each step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from agentd.errors import BusError, Conflict, DecodeError, Forbidden, NotStored
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import AUDIT, LOG
from agentd.protocol.subjects import Subjects
from agentd.record.audit import batch, keys, log_reader, step
from agentd.record.audit.head import Head, after, load
from agentd.record.audit.keys import Signer
from agentd.record.audit.lease import Lease
from agentd.record.audit.log_reader import Entry
from agentd.record.audit.step import MOST
from agentd.record.audit.verifier.tree import leaf_hash, message_leaf

log = logging.getLogger(__name__)

_POLL = 1.0  # seconds between two looks at the log
_STAND_BY = 2.0  # seconds between two looks at the lease of another process
_BUSY = 1024  # messages that are worth a step at once
_CALM = 5.0  # seconds between two steps otherwise
# Seconds of pause for each message that was read: a log of any size takes a fifth of a core.
_PACE = 50e-6
_SLICE = 256  # messages that are hashed without a pause: a millisecond
_ROOM, _LARGEST = 4096, 100  # bytes of a step without messages, and at most for each message
_LATER = 10.0  # seconds until what failed is tried again


class Keeper:
    """Keeps the tree while this process has the lease.

    Attributes:
        lag: seconds since the oldest message was stored that no checkpoint covers; 0 without one,
            and in a process that does not have the lease.
    """

    def __init__(
        self,
        bus: Bus,
        env: str,
        holder: str,
        *,
        key: Signer | None = None,
        on_lag: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._bus = bus
        self._env = env
        self._lease = Lease(bus, env, holder)
        self._key = key
        self._on_lag = on_lag
        self._beat = Subjects(env).event("status", "heartbeat").encode()
        self._head: Head | None = None
        self._size = 0  # of the tree when this process saw it last
        self._stepped_at = float("-inf")
        self._reported = ""
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Starts to keep the tree, in the background."""
        self._task = self._bus.background.keep("audit", self.run)

    async def close(self) -> None:
        """Adds what is left, and stops; another process may take over at once."""
        if not self._task:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        with contextlib.suppress(BusError, DecodeError, TimeoutError):
            async with asyncio.timeout(_CALM):
                self._stepped_at = float("-inf")
                await self._look()
                await self._lease.release()

    async def run(self) -> None:
        """Keeps the tree, without end. An audit that fails keeps no task waiting."""
        while True:
            try:
                await asyncio.sleep(await self._look() if self._bus.connected else _POLL)
                self._reported = ""
            except (BusError, DecodeError) as error:
                self._head = None
                if str(error) != self._reported:
                    self._reported = str(error)
                    log.warning("the audit waits: %s", error)
                lasting = isinstance(error, DecodeError | NotStored | Forbidden)
                await asyncio.sleep(_LATER if lasting else _POLL)

    async def _look(self) -> float:
        """Adds what the log has to add; returns the seconds until the next look."""
        if not await self._lease.hold():
            self._head = None
            self._on_lag(0.0)
            return _STAND_BY
        head = self._head = self._head or await self._load()
        most = min(MOST, max(16, (self._bus.max_message - _ROOM) // _LARGEST))
        chunk = await log_reader.read(self._bus, self._env, head.last, most=most)
        real = [each for each in chunk.entries if each.subject != self._beat]
        # Heartbeats alone are no reason for a step: an idle process would store one for ever.
        if not real and len(chunk.entries) < most:
            self._on_lag(0.0)
            return _POLL
        waited = time.monotonic() - self._stepped_at
        self._on_lag(max(0.0, time.time() - batch.seconds((real or chunk.entries)[0].at)))
        if len(real) < _BUSY and not chunk.pending and waited < _CALM:
            return _POLL
        try:
            await self._add(head, chunk.entries)
        except Conflict:
            self._head = None  # another process has the lease now
            return _POLL
        if not chunk.pending:
            self._on_lag(0.0)
        return max(_PACE * len(chunk.entries), 0.0 if chunk.pending else _POLL)

    async def _load(self) -> Head:
        """Where the tree ends, as AGENTD_AUDIT has it."""
        newest = await step.newest(self._bus, self._env)
        size = newest.checkpoint.size if newest else 0
        if size < self._size:
            log.error(
                "%s had a checkpoint of %s leaves and has one of %s: its newest messages were "
                "removed; the tree goes on from there",
                *(AUDIT, self._size, size),
            )
        self._size = size
        if newest is None:
            return Head()
        key = await self._signer()
        if newest.key != str(key.public):
            log.warning(
                "the audit goes on with the key %s; until now it was %s", key.public, newest.key
            )
        head = await load(self._bus, self._env, newest)
        last = int((await self._log())["state"]["last_seq"])
        if last >= head.last:
            return head
        # A server that loses its newest messages gives their sequences to others.
        log.error(
            "the log has lost messages that are in the audit, after sequence %s; see: agentd audit "
            "verify",
            last,
        )
        return replace(head, last=last)

    async def _log(self) -> dict[str, Any]:
        return await jetstream.api(self._bus, f"STREAM.INFO.{LOG}")

    async def _signer(self) -> Signer:
        if self._key is None:
            self._key = await keys.shared(self._bus, self._env)
        return self._key

    async def _add(self, head: Head, entries: Sequence[Entry]) -> None:
        """Stores one step, with these messages.

        Raises:
            Conflict: another process has stored one.
        """
        leaves: list[bytes] = []
        for number, entry in enumerate(entries, 1):
            leaves.append(leaf_hash(message_leaf(*entry)))
            if not number % _SLICE:
                await asyncio.sleep(0)
        made, tree = head.step(entries, leaves, await self._log(), await self._signer())
        sequence = await jetstream.store(
            self._bus,
            step.subject(self._env),
            made.dump(),
            message_id=f"audit.{self._env}.{made.checkpoint.size}.{made.checkpoint.root.hex()}",
            after=head.sequence,
        )
        self._head = after(made, tree, sequence)
        self._size = tree.size
        self._stepped_at = time.monotonic()
