"""Conversations that a person stopped: nothing of them runs, here or anywhere, until it is undone.

A stop is a key in a bucket. Its publish reaches every process at once, as any message does; what a
process missed it reads when it is connected again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Generator

from agentd import jetstream
from agentd.bus import Bus, Msg
from agentd.errors import Undeliverable
from agentd.message import AgentIdentity, Context, encode, new
from agentd.streams import STOPS
from agentd.subjects import Subjects, digest

_BUCKET = "$KV." + STOPS.removeprefix("KV_")


class Stops:
    """The stops of an environment, as one process knows them."""

    def __init__(self, bus: Bus, env: str) -> None:
        self._bus = bus
        self._pattern = f"{_BUCKET}.{env}.*"
        self._stopped: set[str] = set()
        self._heard: dict[str, bool] = {}
        self._running: defaultdict[str, set[_Run]] = defaultdict(set)

    async def open(self) -> None:
        """Reads the stops there are, and hears of others from then on.

        Raises:
            BusError: the bucket does not answer.
        """
        await self._bus.subscribe(self._pattern, self._on_change)
        self._bus.on_reconnect(self._read)
        await self._read()

    @contextlib.contextmanager
    def obeyed(self, conversation: str) -> Generator[None]:
        """Runs the block unless the conversation is stopped; a stop cancels it at once.

        Raises:
            Undeliverable: it is, or was meanwhile (`stopped`).
        """
        key = digest(conversation)
        if key in self._stopped:
            raise _refusal(conversation)
        run = _Run()
        self._running[key].add(run)
        try:
            yield
        except asyncio.CancelledError:
            if run.ended_by_stop():
                raise _refusal(conversation) from None
            raise
        finally:
            self._running[key].discard(run)
            if not self._running[key]:
                del self._running[key]

    async def _read(self) -> None:
        # What is heard from here on is newer than what the bucket may answer.
        self._heard.clear()
        keys: set[str] = set()
        async for msg in jetstream.stored(self._bus, STOPS, self._pattern):
            if msg.data:
                keys.add((msg.headers or {})["Nats-Subject"].rpartition(".")[2])
        self._stopped = keys
        for key, stopped in self._heard.items():
            self._take(key, stopped)
        for key in keys & self._running.keys():
            self._end(key)

    async def _on_change(self, msg: Msg) -> None:
        key = msg.subject.rpartition(".")[2]
        self._heard[key] = bool(msg.data)
        self._take(key, bool(msg.data))
        if msg.data:
            self._end(key)

    def _take(self, key: str, stopped: bool) -> None:
        (self._stopped.add if stopped else self._stopped.discard)(key)

    def _end(self, key: str) -> None:
        for run in self._running.get(key, ()):
            run.end()


class _Run:
    """The running block of one asyncio task, made in that task."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancels_before = task.cancelling()
        self._ended = False

    def end(self) -> None:
        """Cancels it, once."""
        if not self._ended:
            self._ended = True
            self._task.cancel()

    def ended_by_stop(self) -> bool:
        """Whether its cancellation is ours alone, as `asyncio.timeout` finds out."""
        return self._ended and self._task.uncancel() <= self._cancels_before


async def stop(bus: Bus, subjects: Subjects, conversation: str) -> None:
    """Stops a conversation: what runs is cancelled, what waits or comes later is refused.

    Raises:
        BusError: it could not be stored.
    """
    value = json.dumps({"conversation": conversation}).encode()
    await _put(bus, subjects, conversation, "stopped", value)


async def resume(bus: Bus, subjects: Subjects, conversation: str) -> None:
    """Lets a stopped conversation go on; what was ended stays so, among the dead letters.

    Raises:
        BusError: it could not be stored.
    """
    await _put(bus, subjects, conversation, "resumed", b"", {"KV-Operation": "DEL"})


async def _put(
    bus: Bus,
    subjects: Subjects,
    conversation: str,
    what: str,
    value: bytes,
    headers: dict[str, str] | None = None,
) -> None:
    event = new(
        "event",
        {"event": f"conversation_{what}", "conversation": conversation},
        source=AgentIdentity(id="agentd-stop", type="runtime"),
        context=Context(conversation_id=conversation),
    )
    subject = f"{_BUCKET}.{subjects.env}.{digest(conversation)}"
    await jetstream.store(bus, subject, value, message_id=event.id, headers=headers)
    fact = subjects.event("conversation", what)
    await jetstream.store(bus, fact, encode(event), message_id=event.id)


def _refusal(conversation: str) -> Undeliverable:
    return Undeliverable(f"the conversation {conversation[:100]!r} is stopped", code="stopped")
