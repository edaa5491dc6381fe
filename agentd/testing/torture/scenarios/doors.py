"""Clients that follow tasks over HTTP while the processes that serve and run them are killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentd.routing.accept import task_id
from agentd.testing.stub_reply import Behaviour
from agentd.testing.torture.harness import World
from agentd.testing.torture.oracle import Allowed
from agentd.testing.torture.processes import ReplicaProcess
from agentd.testing.torture.scenario import Size
from agentd.testing.torture.sender import TaskDraft

_CALLER = "local"  # where no key is needed
_EVERY = 2.0  # seconds between two kills
_WORDS, _INTERVAL = 16, 0.25  # of an answer
_PAUSE = 0.1  # seconds until a client tries again
_PATIENCE = 240.0  # seconds for all clients
_AWAY = (OSError, asyncio.IncompleteReadError, RuntimeError, TimeoutError)
_READ = 40.0  # seconds without a byte, heartbeats among them


async def doors(world: World, size: Size) -> None:
    """Clients on running tasks, kill -9 of the process that serves them: each has the answer."""
    world.behave = lambda task, _: Behaviour(text=_answer(task), latency=0.1, interval=_INTERVAL)
    world.agent(stream=True, limits={"concurrency": size.tasks, "timeout": "300s"})
    servers = [world.replica(manifests=_idle(world)) for _ in range(2)]
    (runner,) = await world.up(1)
    await asyncio.gather(*(each.start() for each in servers))
    clients = [Client(world, servers, number) for number in range(size.tasks)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE * world.setup.lenience), asyncio.TaskGroup() as group:
            for each in clients:
                group.create_task(each.run())
            await _kill(world, clients, servers, runner, size.shocks)
    late = [each.task for each in clients if not each.result]
    world.findings.require(not late, f"{len(late)} clients have no result: {late[:3]}")
    _judge(world, clients)
    # The kill of the runner repeats the calls of all tasks that were running.
    await world.judge(Allowed(extra_calls=size.tasks))


async def _kill(
    world: World,
    clients: Sequence[Client],
    servers: Sequence[ReplicaProcess],
    runner: ReplicaProcess,
    times: int,
) -> None:
    """Kills the process with the most readers, again and again, and once the one that runs the
    tasks."""
    for number in range(times):
        await asyncio.sleep(_EVERY)
        readers = {each: sum(c.server is each for c in clients) for each in servers}
        busiest = max(readers, key=lambda each: readers[each])
        world.findings.met["a kill of a server"] += readers[busiest]
        await busiest.again()
        if number == times // 2:
            world.findings.met["a kill of the runner"] += sum(not c.result for c in clients)
            await runner.again()


def _judge(world: World, clients: Sequence[Client]) -> None:
    wrong = [c.task for c in clients if c.result.get("data") != _answer(c.task)]
    world.findings.require(not wrong, f"{len(wrong)} results are wrong: {wrong[:3]}")
    # Pieces that a client has are the whole answer: none is lost, doubled, or of another run.
    mixed = [c.task for c in clients if c.text and c.text != _answer(c.task)]
    world.findings.require(not mixed, f"{len(mixed)} clients have a wrong text: {mixed[:3]}")
    refused = [c.refused for c in clients if c.refused]
    world.findings.require(not refused, f"{len(refused)} requests were refused: {refused[:3]}")
    world.findings.figures |= {
        "clients": len(clients),
        "connections": sum(c.connections for c in clients),
        "restarts": sum(c.restarts for c in clients),
        "answers_in_pieces": sum(bool(c.text) for c in clients),
    }


def _answer(task: str) -> str:
    return " ".join(f"{task}.{number}" for number in range(_WORDS))


def _idle(world: World) -> Path:
    """A folder with an agent that takes none of the tasks: its process only serves."""
    folder = world.folder / "servers"
    folder.mkdir(exist_ok=True)
    manifest = {"capabilities": ["idle"], "model": "mock/echo", "instructions": "Wait."}
    (folder / "idle.yaml").write_text(json.dumps(manifest))
    return folder


@dataclass(eq=False)
class Client:
    """A program that sends one task, and follows it to its end at whatever server answers.

    Attributes:
        server: the one that it reads from now.
        text: the pieces since the last restart.
        result: the `result` of the task; empty until the end.
        refused: the first answer that no client should get.
    """

    world: World
    servers: Sequence[ReplicaProcess]
    number: int
    server: ReplicaProcess | None = None
    text: str = ""
    place: str = ""
    result: Mapping[str, Any] = field(default_factory=dict[str, Any])
    connections: int = 0
    restarts: int = 0
    refused: str = ""

    @property
    def key(self) -> str:
        return f"client-{self.number}"

    @property
    def task(self) -> str:
        return task_id(_CALLER, self.key)

    async def run(self) -> None:
        """Returns when it has the result."""
        self.world.sender.drafts[self.task] = TaskDraft()
        await self._until_done(self._send)
        self.world.sender.accepted[self.task] = time.time()
        await self._until_done(self._follow)

    async def _until_done(self, what: Callable[[str, int], Awaitable[bool]]) -> None:
        """Asks one server after the other: each may be killed while it answers."""
        done = False
        while not done:
            self.server = self.world.random.choice(self.servers)
            with contextlib.suppress(*_AWAY):
                done = await what(*self.server.address())
            self.server = None
            await asyncio.sleep(0 if done else _PAUSE)

    async def _send(self, host: str, port: int) -> bool:
        body = json.dumps({"target": "work", "content": f"{self.task} please"}).encode()
        head = (
            f"POST /api/tasks HTTP/1.0\r\nhost: localhost\r\nidempotency-key: {self.key}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        async with _connection(host, port) as (reader, writer):
            writer.write(head.encode() + body)
            status = (await _line(reader)).split()[1]
            async with asyncio.timeout(_READ):
                answer = await reader.read()
        return self._is_good(status, answer, ("202",))

    async def _follow(self, host: str, port: int) -> bool:
        place = f"last-event-id: {self.place}\r\n" if self.place else ""
        path = f"/api/tasks/{self.task}/stream"
        async with _connection(host, port) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.0\r\nhost: localhost\r\n{place}\r\n".encode())
            status = (await _line(reader)).split()[1]
            if not self._is_good(status, "", ("200",)):
                return False
            self.connections += 1
            async for fields in _events(reader):
                self._take(fields)
                if self.result:
                    return True
        return False

    def _is_good(self, status: str, answer: object, good: Sequence[str]) -> bool:
        # 503: it starts or ends, or has no connection to NATS yet.
        if status not in (*good, "503"):
            self.refused = self.refused or f"{status} {answer!r}"[:300]
        return status in good

    def _take(self, fields: Mapping[str, str]) -> None:
        self.place = fields.get("id", self.place)
        data: dict[str, Any] = json.loads(fields["data"])
        match fields["event"]:
            case "delta":
                self.text += data["text"]
            case "restart":
                self.text, self.restarts = "", self.restarts + 1
            case "result":
                self.result = data["result"]
            case _:
                pass


@contextlib.asynccontextmanager
async def _connection(
    host: str, port: int
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, str]]:
    """The events of a response in HTTP/1.0, whose body ends with the connection."""
    while await _line(reader):
        pass  # headers
    fields: dict[str, str] = {}
    while True:
        line = await _line(reader)
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "event" in fields:
            yield fields
            fields = {}


async def _line(reader: asyncio.StreamReader) -> str:
    """The next line.

    Raises:
        IncompleteReadError: the connection has ended.
        TimeoutError: nothing came, not even a heartbeat.
    """
    async with asyncio.timeout(_READ):
        line = await reader.readuntil(b"\n")
    return line.decode().rstrip("\r\n")
