"""Keeps a number of tasks in flight, and counts the results."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from statistics import median

from nats.aio.client import Client
from nats.aio.msg import Msg

_PATIENCE = 20.0  # seconds to wait for the last results

_TEXT = (
    "The new release arrived two weeks late, and the notes were thin. Still, everybody who tried "
    "it was impressed: imports that took a minute take four seconds now, the search finds what one "
    "means, and the export, so long the weak point, has not failed once since Monday. Two of us "
    "lost their settings, which nobody had warned about; support answered within the hour."
)


@dataclass(frozen=True)
class Lane:
    """The subject of the tasks of a worker, and of its results: `{results}.{task id}`."""

    tasks: str
    results: str


@dataclass
class Count:
    """The results within a time. `latencies` are in ms, from the publish to the result."""

    done: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list[float])

    @property
    def rate(self) -> float:
        """Tasks per second."""
        return self.done / self.seconds

    @property
    def latency(self) -> float:
        """The median latency in ms."""
        return median(self.latencies)


def task(task_id: str, text: str = _TEXT) -> bytes:
    """A task of about 1 KB with all fields that senders usually set."""
    return json.dumps(
        {
            "id": task_id,
            "version": "1.0",
            "type": "task",
            "source": {"id": "bench", "type": "external"},
            "context": {"conversationId": task_id, "metadata": {"origin": "bench"}},
            "payload": {"content": {"instruction": text, "audience": "bench", "length": 200}},
            "routing": {"priority": 5},
        }
    ).encode()


class Load:
    """A closed loop: after each result, the next task is sent. Use it with `async with`."""

    def __init__(self, client: Client, lane: Lane) -> None:
        self._client = client
        self._lane = lane
        self._sent: dict[str, float] = {}
        self._counting: Count | None = None
        self._open = False
        self._empty = asyncio.Event()
        self._failed: str | None = None
        self._id = "0" * 32
        self._template = task(self._id).split(self._id.encode())
        self._acks = client.new_inbox()

    async def __aenter__(self) -> Load:
        self._subscriptions = [
            await self._client.subscribe(f"{self._lane.results}.*", cb=self._on_result),
            await self._client.subscribe(self._acks, cb=self._on_ack),
        ]
        await self._client.flush()
        return self

    async def __aexit__(self, *_: object) -> None:
        for subscription in self._subscriptions:
            await subscription.unsubscribe()

    async def start(self, in_flight: int) -> None:
        """Sends the first tasks, and so starts the loop."""
        self._open = True
        self._empty.clear()
        for _ in range(in_flight):
            await self._send()

    async def count(self, seconds: float) -> Count:
        """Counts the results of about so many seconds.

        Raises:
            RuntimeError: a task failed, or no result arrived.
        """
        count = self._counting = Count()
        started = time.perf_counter()
        await asyncio.sleep(seconds)
        count.seconds = time.perf_counter() - started
        self._counting = None
        self._check()
        if not count.done:
            raise RuntimeError(f"no task of {self._lane.tasks} was answered in {seconds:g} s")
        return count

    async def stop(self) -> None:
        """Ends the loop, and waits for the last results.

        Raises:
            RuntimeError: a task failed or was lost, so that the figures mean nothing.
        """
        self._open = False
        try:
            async with asyncio.timeout(_PATIENCE):
                if self._sent:
                    await self._empty.wait()
        except TimeoutError:
            raise RuntimeError(f"{len(self._sent)} tasks of {self._lane.tasks} are lost") from None
        self._check()

    async def _send(self) -> None:
        task_id = secrets.token_hex(16)
        self._sent[task_id] = time.perf_counter()
        data = task_id.encode().join(self._template)
        # With a reply subject, the stream acknowledges, as it does for a sender that needs to know.
        await self._client.publish(self._lane.tasks, data, reply=self._acks)

    async def _on_result(self, msg: Msg) -> None:
        sent = self._sent.pop(msg.subject.rpartition(".")[2], None)
        if sent is None:
            return
        if b'"success":true' not in msg.data:
            self._failed = msg.data.decode(errors="replace")[:1000]
        if self._counting is not None:
            self._counting.done += 1
            self._counting.latencies.append((time.perf_counter() - sent) * 1000)
        if self._open:
            await self._send()
        elif not self._sent:
            self._empty.set()

    async def _on_ack(self, msg: Msg) -> None:
        if b'"error"' in msg.data:
            self._failed = msg.data.decode()

    def _check(self) -> None:
        if self._failed:
            raise RuntimeError(f"a task of {self._lane.tasks} failed: {self._failed}")
