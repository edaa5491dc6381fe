"""The world of one scenario: a nats-server, replicas, a model, a sender, and what was found."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentd.errors import BusError
from agentd.nats import jetstream, streams
from agentd.nats.bus import Bus
from agentd.nats.jetstream import ApiError
from agentd.nats.server import EmbeddedServer, RunningServer
from agentd.protocol.subjects import Subjects
from agentd.queue import queue
from agentd.settings import Settings
from agentd.testing.stub_model import Behaviour, StubModel
from agentd.testing.torture.evidence import ModelCalls, collect, facts_waiting, work_waiting
from agentd.testing.torture.oracle import Allowed, Evidence, judge
from agentd.testing.torture.processes import ReplicaProcess, Zygote
from agentd.testing.torture.sender import Sender, TaskDraft

ENV = "torture"
IN_FLIGHT = 8  # tasks at once in one agent, unless a scenario says otherwise

_LOOK = 0.05
_STALL = 10.0


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the worlds of one run of the suite share.

    Attributes:
        without: safeguards that replicas lack (see `unsafe`).
        ack_wait: seconds until an unfinished task is delivered again; None leaves agentd's own.
        lenience: factor on every limit in time, for machines that do other things too.
    """

    zygote: Zygote
    seed: int
    without: tuple[str, ...] = ()
    ack_wait: float | None = None
    lenience: float = 1.0


@dataclass
class Findings:
    """What a scenario measured, and each broken promise in a sentence."""

    figures: dict[str, float | str] = field(default_factory=dict[str, float | str])
    broken: list[str] = field(default_factory=list[str])

    def require(self, holds: bool, otherwise: str) -> None:
        """A promise, and the sentence for when it does not hold."""
        if not holds:
            self.broken.append(otherwise)

    def at_most(self, name: str, value: float, limit: float, unit: str = "") -> None:
        """A figure that may not be over a limit; of one that is taken often, the worst is kept."""
        self.figures[name] = max(round(value, 3), float(self.figures.get(name, 0)))
        self.require(value <= limit, f"{name.replace('_', ' ')} {value:,.3g} > {limit:,.3g}{unit}")


class World:
    """Made by `world`; everything it starts ends with it."""

    def __init__(
        self,
        folder: Path,
        setup: Setup,
        *,
        embedded: EmbeddedServer,
        server: RunningServer,
        closing: contextlib.AsyncExitStack,
    ) -> None:
        self.folder = folder
        self.setup = setup
        self.random = random.Random(setup.seed)
        self.subjects = Subjects(ENV)
        self.server = server
        self.embedded = embedded
        self.calls = ModelCalls()
        self.findings = Findings()
        self.replicas: list[ReplicaProcess] = []
        self.behave: Callable[[str, Mapping[str, Any]], Behaviour | None] = lambda _task, _body: (
            None
        )
        self.stub = StubModel(Behaviour(latency=0.02), plan=self._on_call)
        self._closing = closing

    async def open(self) -> None:
        """Makes the streams and starts the model; called by `world`."""
        self.bus = await self.connect(self.nats_url)
        self.sender = self.new_sender(self.bus)
        await streams.ensure(self.bus, Settings())
        await self._closing.enter_async_context(self.stub.serve())
        self._closing.push_async_callback(self._end_replicas)

    @property
    def nats_url(self) -> str:
        """With the token."""
        return self.server.url.replace("://", f"://{self.server.token}@")

    @property
    def manifests(self) -> Path:
        return self.folder / "manifests"

    @property
    def ack_wait(self) -> float:
        """Seconds until the server delivers an unfinished task again."""
        return self.setup.ack_wait or queue.ACK_WAIT

    async def connect(self, url: str) -> Bus:
        """One more connection, which ends with the world."""
        bus = await Bus.connect({"servers": url}, timeout=10, on_state=lambda _: None)
        self._closing.push_async_callback(bus.close)
        return bus

    # --- agents ---------------------------------------------------------------------------------

    def agent(self, name: str = "worker", **fields: Any) -> None:
        """Writes a manifest whose model is the stub; `fields` replace what is usual, None drops."""
        self.manifests.mkdir(exist_ok=True)
        manifest = {
            "capabilities": ["work"],
            "model": self.model(),
            "instructions": "Answer.",
            "limits": {"concurrency": IN_FLIGHT, "timeout": "30s"},
            "stream": False,
            **fields,
        }
        draft = self.folder / f"{name}.draft"
        given = {key: value for key, value in manifest.items() if value is not None}
        draft.write_text(json.dumps(given))  # JSON is YAML
        draft.replace(self.manifests / f"{name}.yaml")

    def model(self, *, api_key: str = "none") -> dict[str, str]:
        """The stub as a manifest names it; each key is an endpoint of its own."""
        return {"name": "openai/stub", "api_base": self.stub.url, "api_key": api_key}

    def replica(
        self, *, via: str | None = None, environ: Mapping[str, str] | None = None
    ) -> ReplicaProcess:
        """A replica that has not been started. `via` is another way to NATS than the direct one."""
        replica = ReplicaProcess(
            name=f"replica{len(self.replicas) + 1}",
            folder=self.folder,
            argv=[
                *("up", str(self.manifests), "--env", ENV, "--http", "127.0.0.1:0"),
                *("--nats", via or self.nats_url),
            ],
            zygote=self.setup.zygote,
            seed=self.random.getrandbits(32),
            environ=environ or {},
            tuning={"without": self.setup.without, "ack_wait": self.setup.ack_wait},
        )
        self.replicas.append(replica)
        return replica

    async def up(self, count: int = 1, *, via: str | None = None) -> list[ReplicaProcess]:
        """So many replicas, taking tasks."""
        replicas = [self.replica(via=via) for _ in range(count)]
        await asyncio.gather(*(replica.start() for replica in replicas))
        return replicas

    # --- tasks ----------------------------------------------------------------------------------

    def new_sender(self, bus: Bus) -> Sender:
        """A sender on a connection of its own."""
        same_id = "message-id" not in self.setup.without
        return Sender(bus, self.subjects, self.random, same_id=same_id)

    @contextlib.asynccontextmanager
    async def sending(
        self, count: int, draft: Callable[[int], TaskDraft] | None = None
    ) -> AsyncGenerator[None]:
        """Sends meanwhile; the block ends when all are accepted."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sender.send(count, draft))
            yield

    async def shocks(self, count: int, tasks: int) -> AsyncGenerator[int]:
        """`count` moments at random while `tasks` tasks are worked on, by the model's calls.

        By progress and not by the clock, so that a slow machine is hit while it works as well.
        """
        start = self.calls.total
        for number in range(count):
            due = start + (number + self.random.random()) * tasks / (count + 1)
            last, since = self.calls.total, time.monotonic()
            while self.calls.total < due and time.monotonic() - since < _STALL:
                await asyncio.sleep(0.002)
                if self.calls.total != last:
                    last, since = self.calls.total, time.monotonic()
            yield number

    async def until(self, holds: Callable[[], bool], within: float, what: str) -> float:
        """Waits for a condition; how long it took. Broken, and noted as such, after `within`."""
        started = time.monotonic()
        while not holds():
            if time.monotonic() - started > within:
                self.findings.broken.append(f"not within {within:g} s: {what}")
                break
            await asyncio.sleep(0.01)
        return time.monotonic() - started

    # --- the server -----------------------------------------------------------------------------

    async def kill_server(self, pause: float = 0.0) -> float:
        """Kills nats-server and starts it again; when it answered again, by `time.time()`."""
        os.kill(self.server.pid, signal.SIGKILL)
        await asyncio.sleep(pause)
        self.server = await self.embedded.ensure()
        return time.time()

    async def stop_server(self) -> None:
        """Ends nats-server in order."""
        await self.embedded.stop()

    async def restart_server(self, environ: Mapping[str, str]) -> None:
        """Ends nats-server in order, and starts it with more in its environment."""
        await self.stop_server()
        self.embedded = _embedded(self.folder, environ)
        self.server = await self.embedded.ensure()

    async def pause_server(self, seconds: float) -> None:
        """Stops nats-server in its tracks for a while."""
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)

    # --- the verdict ----------------------------------------------------------------------------

    async def at_rest(self) -> None:
        """Returns when nothing waits and nothing runs, or when nothing moves any more."""
        # A killed replica's tasks come again after ack_wait; one that failed, after its backoff.
        patience = 2 * self.ack_wait + 35
        last, since = (-1, -1), time.monotonic()
        while time.monotonic() - since < patience:
            with contextlib.suppress(BusError):
                waiting = await work_waiting(self.bus) + await facts_waiting(self.bus)
                if waiting == 0 and await self._log_is_sourced():
                    return
                if (now := (waiting, self.calls.total)) != last:
                    last, since = now, time.monotonic()
            await asyncio.sleep(_LOOK)
        for replica in self.replicas:
            if replica.alive:
                await replica.tasks()  # leaves beside its log where everything is stuck

    async def judge(
        self,
        allowed: Allowed | None = None,
        also: Callable[[Evidence], Evidence] = lambda seen: seen,
    ) -> Evidence:
        """Waits until all is at rest, and holds every invariant against what is on record.

        `also` adds what was seen but is on record no more.
        """
        await self.at_rest()
        seen = also(await collect(self.bus, self.subjects, self.sender, self.calls))
        verdict = judge(seen, allowed or Allowed())
        self.findings.figures |= verdict.figures
        self.findings.broken += verdict.broken
        return seen

    def limit(self, name: str, value: float, limit: float, unit: str = "s") -> None:
        """A figure in time, held to `limit` as far as this machine is not busy with others."""
        self.findings.at_most(name, value, limit * self.setup.lenience, f" {unit}")

    async def until_sourced(self) -> None:
        """Returns when every task of LOG has reached WORK."""
        while True:
            if await self._log_is_sourced():
                return
            await asyncio.sleep(_LOOK)

    async def _log_is_sourced(self) -> bool:
        """Whether WORK has seen every task of LOG. (The lag that it tells is not always true.)"""
        newest = {"last_by_subj": self.subjects.pattern("task.>")}
        try:
            last = await jetstream.api(self.bus, f"STREAM.MSG.GET.{streams.LOG}", newest)
        except ApiError:
            return True  # there is no task
        info = await jetstream.api(self.bus, f"STREAM.INFO.{streams.WORK}")
        return all(source.get("seq", 0) >= last["message"]["seq"] for source in info["sources"])

    async def _end_replicas(self) -> None:
        for replica in self.replicas:
            if replica.alive:
                await replica.end(signal.SIGKILL)

    def _on_call(self, _number: int, body: Mapping[str, Any]) -> Behaviour | None:
        """Notes whom the model is called for: the first word of the last turn is the task's id."""
        task = str(body["messages"][-1]["content"]).partition(" ")[0]
        self.calls.note(task, time.time())
        return self.behave(task, body)


@contextlib.asynccontextmanager
async def world(folder: Path, setup: Setup) -> AsyncGenerator[World]:
    """A world in an empty folder."""
    embedded = _embedded(folder)
    server = await embedded.ensure()
    async with contextlib.AsyncExitStack() as stack:
        made = World(folder, setup, embedded=embedded, server=server, closing=stack)
        stack.push_async_callback(made.stop_server)
        await made.open()
        yield made


def _embedded(folder: Path, environ: Mapping[str, str] | None = None) -> EmbeddedServer:
    return EmbeddedServer(folder / ".agentd", "always", {**os.environ, **(environ or {})})
