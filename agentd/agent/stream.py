"""Publishes deltas while the model writes: the first words immediately, then about 30 a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from agentd.errors import BusError, TaskError
from agentd.nats.bus import Bus
from agentd.nats.objects import room
from agentd.protocol.message import AgentIdentity, AgentMessage, encode, new_id

log = logging.getLogger(__name__)

# Seconds in which chunks are collected into one delta. A published delta costs ten times the CPU of
# a chunk that is read, and people do not read faster than this.
COALESCE = 0.03
_WIDEST = 6  # bytes of one character in JSON: `\u0000`


class Deltas:
    """The deltas of one run, numbered from 0; the first and the last are marked.

    The numbers start again at 0 when a run is repeated after a crash, and when a turn turns out to
    call tools: then a reader must discard what it has. `turn` tells the two apart: a repeated run
    writes the same turn again.
    """

    def __init__(
        self,
        bus: Bus,
        subject: str,
        *,
        task: AgentMessage,
        source: AgentIdentity,
        headers: Mapping[str, str],
    ) -> None:
        self._bus = bus
        self._subject = subject
        self._task = task
        self._source = source
        self._headers = headers
        self._text: list[str] = []
        self._number, self._run = 0, new_id()
        self._turn = 1
        self._wake = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None

    def push(self, text: str) -> None:
        """Takes the next piece of the answer; returns immediately."""
        self._text.append(text)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_now_and_then())
        self._wake.set()

    def restart(self) -> None:
        """The next turn begins. What was pushed so far was not the answer: readers start over."""
        self._text.clear()
        self._number, self._run = 0, new_id()
        self._turn += 1

    async def finish(self) -> None:
        """Publishes the rest, marked as final. The outcome follows."""
        await self.stop()
        await self._publish(final=True)

    async def stop(self) -> None:
        """Publishes nothing more: the run has ended, or is cancelled."""
        flusher, self._flusher = self._flusher, None
        if flusher is not None:
            flusher.cancel()
            await asyncio.gather(flusher, return_exceptions=True)

    async def _flush_now_and_then(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._text:
                await self._publish(final=False)
            await asyncio.sleep(COALESCE)

    async def _publish(self, *, final: bool) -> None:
        text, most = "".join(self._text), room(self._bus) // _WIDEST
        # What is not sent yet stays here: `stop` may cancel this in between.
        self._text = [text[start : start + most] for start in range(0, len(text), most)] or [""]
        while self._text:
            piece = self._text.pop(0)
            await self._send(piece, final=final and not self._text)

    async def _send(self, chunk: str, *, final: bool) -> None:
        delta = self._task.delta(
            chunk,
            self._number,
            turn=self._turn,
            final=final,
            source=self._source,
            run=self._run,
        )
        self._number += 1
        try:
            await self._bus.publish(self._subject, encode(delta), headers=self._headers)
        except (BusError, TaskError) as error:
            # A reader that misses a delta still gets the whole answer, with the result.
            log.warning(
                "delta %d of %s was not published: %s", self._number - 1, self._task.id, error
            )
