"""The bare handlers to which agentd is compared: nats-py, aiohttp, and nothing else.

    python -m bench.baseline durable|core STUB_URL

`durable` is the smallest worker that loses no task: a pull consumer on a work queue stores the
answer in a stream before it acknowledges the task, and never takes more tasks than it runs. `core`
is a queue group without storage: the least that NATS and the stub cost. Neither of them validates
messages, renders a template, refuses a second result, looks for an earlier one, reports tasks as
running, drains, or keeps a journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import aiohttp
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy

from bench.load import Lane

DURABLE = Lane("bare.task", "bare.result")
CORE = Lane("core.task", "core.result")
_AT_ONCE = 600  # tasks, as `limits.concurrency` of the agents
_WORTH_PULLING = 32  # free places after which the worker pulls again: a pull for each costs more
_SYSTEM = "You are a careful analyst of short texts. " * 12


class Worker:
    """Answers tasks with the answer of the stub model."""

    def __init__(self, client: Client, http: aiohttp.ClientSession, url: str) -> None:
        self._client = client
        self._http = http
        self._url = f"{url}/chat/completions"
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = _AT_ONCE  # tasks that neither run nor are requested

    async def durable(self) -> None:
        """Starts to take tasks from a work queue."""
        self._js = self._client.jetstream()
        await self._js.add_stream(
            name="BARE_WORK", subjects=[DURABLE.tasks], retention=RetentionPolicy.WORK_QUEUE
        )
        await self._js.add_stream(name="BARE_RESULTS", subjects=[f"{DURABLE.results}.*"])
        config = ConsumerConfig(
            durable_name="bare", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=-1
        )
        await self._js.add_consumer("BARE_WORK", config)
        # One long request that is topped up. `fetch` waits until its batch is full: it is either
        # slow with few tasks in flight, or makes a request for every task.
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(self._inbox, cb=self._on_delivery)
        await self._pull()

    async def core(self) -> None:
        """Starts to take tasks of a queue group."""
        await self._client.subscribe(CORE.tasks, queue="workers", cb=self._on_message)

    async def _pull(self) -> None:
        wanted, self._free = self._free, 0
        request = json.dumps({"batch": wanted, "expires": 3_600_000_000_000}).encode()
        subject = "$JS.API.CONSUMER.MSG.NEXT.BARE_WORK.bare"
        await self._client.publish(subject, request, reply=self._inbox)

    async def _on_delivery(self, msg: Msg) -> None:
        self._begin(self._handle_durably(msg))

    async def _handle_durably(self, msg: Msg) -> None:
        try:
            task_id, result = await self._answer(msg.data)
            await self._js.publish(f"{DURABLE.results}.{task_id}", result)
            await msg.ack()
        finally:
            self._free += 1
        if self._free >= _WORTH_PULLING:
            await self._pull()

    async def _on_message(self, msg: Msg) -> None:
        self._begin(self._handle(msg))

    async def _handle(self, msg: Msg) -> None:
        task_id, result = await self._answer(msg.data)
        await self._client.publish(f"{CORE.results}.{task_id}", result)

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes) -> tuple[str, bytes]:
        task = json.loads(data)
        messages = [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": task["payload"]["content"]["instruction"]},
        ]
        async with self._http.post(
            self._url, json={"model": "stub", "messages": messages}
        ) as response:
            answer = await response.json()
        result = {
            "success": True,
            "data": answer["choices"][0]["message"]["content"],
            "tokens": answer["usage"]["total_tokens"],
        }
        return task["id"], json.dumps(result, separators=(",", ":")).encode()


async def _main(kind: str, url: str) -> None:
    client = await nats.connect(os.environ["NATS_URL"], token=os.environ["NATS_TOKEN"])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        worker = Worker(client, http, url)
        await (worker.durable() if kind == "durable" else worker.core())
        await client.flush()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
