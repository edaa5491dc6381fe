"""The surroundings of one scenario: nats-server, replicas, stub model, sender, findings."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentd.errors import BusError
from agentd.nats import jetstream, streams
from agentd.nats.bus import Bus
from agentd.nats.jetstream import ApiError
from agentd.nats.server import EmbeddedServer, RunningServer
from agentd.protocol.subjects import Subjects
from agentd.queue import bands
from agentd.settings import Settings
from agentd.testing.stub_model import Behaviour, StubModel
from agentd.testing.torture.evidence import ModelCalls, collect, facts_waiting, work_waiting
from agentd.testing.torture.findings import Findings
from agentd.testing.torture.oracle import SLACK, Allowed, Evidence, judge
from agentd.testing.torture.processes import ReplicaProcess, Zygote
from agentd.testing.torture.sender import Sender, TaskDraft

ENV = "torture"
IN_FLIGHT = 8  # tasks that one replica runs at a time, unless a scenario says otherwise

_LOOK = 0.1  # seconds between two looks at the server


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Settings that all scenarios of one run share.

    Attributes:
        zygote: forks the replicas.
        seed: of every random choice.
        without: safeguards that are removed from the replicas (see `unsafe`).
        ack_wait: seconds until an unfinished task is delivered again; None keeps agentd's value.
        slowness: how many times longer than on an idle machine a computation takes now.
        lenience: factor for all time limits, for machines that also do other work.
    """

    zygote: Zygote
    seed: int
    without: tuple[str, ...] = ()
    ack_wait: float | None = None
    slowness: float = 1.0
    lenience: float = 1.0


class World:
    """What a scenario works with. Create it with `world`, which also ends all that it starts.

    Attributes:
        folder: holds the manifests, the logs of the replicas, and `.agentd`.
        random: the only source of random choices, so that a seed repeats a run.
        calls: the model calls so far.
        behave: chooses how the stub model answers a task, from the task's id and the body of the
            request; None leaves the default.
        stub: the model of all agents.
        sender: sends the tasks of the scenario.
    """

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
        """Creates the streams and starts the stub model. `world` calls it."""
        self.bus = await self.connect(self.nats_url)
        self.sender = self.new_sender(self.bus)
        await streams.ensure(self.bus, Settings())
        await self._closing.enter_async_context(self.stub.serve())
        self._closing.push_async_callback(self._end_replicas)

    @property
    def nats_url(self) -> str:
        """The address of the server, with its token."""
        return self.server.url.replace("://", f"://{self.server.token}@")

    @property
    def manifests(self) -> Path:
        return self.folder / "manifests"

    @property
    def ack_wait(self) -> float:
        """Seconds after which the server delivers an unfinished task again."""
        return self.setup.ack_wait or bands.ACK_WAIT

    async def connect(self, url: str) -> Bus:
        """Opens another connection, which is closed with the world."""
        bus = await Bus.connect({"servers": url}, timeout=10, on_state=lambda _: None)
        self._closing.push_async_callback(bus.close)
        return bus

    # --- agents ---------------------------------------------------------------------------------

    def agent(self, name: str = "worker", **fields: Any) -> None:
        """Writes a manifest whose model is the stub.

        `fields` replace the default fields; a field that is None is left out.
        """
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
        # A rename, so that no replica reads half a manifest.
        draft.replace(self.manifests / f"{name}.yaml")

    def model(self, *, api_key: str = "none") -> dict[str, str]:
        """The stub model as a manifest names it. Each key makes a separate endpoint."""
        return {"name": "openai/stub", "api_base": self.stub.url, "api_key": api_key}

    def replica(
        self,
        *,
        via: str | None = None,
        environ: Mapping[str, str] | None = None,
        manifests: Path | None = None,
    ) -> ReplicaProcess:
        """Creates a replica, but does not start it. `via` is the URL of a proxy before NATS;
        `manifests` is another folder than that of `agent`."""
        replica = ReplicaProcess(
            name=f"replica{len(self.replicas) + 1}",
            folder=self.folder,
            argv=[
                *("up", str(manifests or self.manifests), "--env", ENV, "--http", "127.0.0.1:0"),
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
        """Starts `count` replicas; returns once they take tasks."""
        replicas = [self.replica(via=via) for _ in range(count)]
        await asyncio.gather(*(replica.start() for replica in replicas))
        return replicas

    # --- tasks ----------------------------------------------------------------------------------

    def new_sender(self, bus: Bus) -> Sender:
        """Creates a sender that uses the given connection."""
        same_id = "message-id" not in self.setup.without
        return Sender(bus, self.subjects, self.random, same_id=same_id)

    @contextlib.asynccontextmanager
    async def sending(
        self, count: int, draft: Callable[[int], TaskDraft] | None = None
    ) -> AsyncGenerator[None]:
        """Sends tasks while the block runs, and ends when all are accepted."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sender.send(count, draft))
            yield

    async def until(self, holds: Callable[[], bool], within: float, what: str) -> float:
        """Waits until a condition holds. Returns the seconds that this took.

        After `within` seconds, times the lenience, it stops waiting and reports a broken promise.
        """
        started, within = time.monotonic(), within * self.setup.lenience
        while not holds():
            if time.monotonic() - started > within:
                self.findings.broken.append(f"not within {within:g} s: {what}")
                break
            await asyncio.sleep(0.01)
        return time.monotonic() - started

    # --- the server -----------------------------------------------------------------------------

    async def kill_server(self, pause: float = 0.0) -> float:
        """Kills nats-server and starts it again. Returns when it answered again (`time.time()`)."""
        os.kill(self.server.pid, signal.SIGKILL)
        await asyncio.sleep(pause)
        self.server = await self.embedded.ensure()
        return time.time()

    async def stop_server(self) -> None:
        """Stops nats-server gracefully."""
        await self.embedded.stop()

    async def restart_server(self, environ: Mapping[str, str]) -> None:
        """Stops nats-server gracefully, and starts it with additional environment variables."""
        await self.stop_server()
        self.embedded = _embedded(self.folder, environ)
        self.server = await self.embedded.ensure()

    async def pause_server(self, seconds: float) -> None:
        """Freezes nats-server (SIGSTOP) for some seconds."""
        os.kill(self.server.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(self.server.pid, signal.SIGCONT)

    # --- the verdict ----------------------------------------------------------------------------

    async def at_rest(self) -> None:
        """Returns when no task waits or runs, or when nothing has changed for a long time."""
        # The tasks of a killed replica return after ack_wait, failed attempts after their backoff.
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
                await replica.tasks()  # writes beside its log where each asyncio task waits

    async def judge(
        self,
        allowed: Allowed | None = None,
        also: Callable[[Evidence], Evidence] = lambda seen: seen,
    ) -> Evidence:
        """Waits until nothing runs, reads the evidence, and checks every promise.

        `also` completes the evidence with facts that the server cannot tell.
        """
        await self.at_rest()
        seen = also(await collect(self.bus, self.subjects, self.sender, self.calls))
        slack = SLACK * self.setup.slowness
        verdict = judge(seen, replace(allowed or Allowed(), slack=slack))
        self.findings.figures |= verdict.figures
        self.findings.broken += verdict.broken
        return seen

    def limit(self, name: str, value: float, limit: float, unit: str = "s") -> None:
        """Records a time, and reports it if it exceeds the limit times the lenience."""
        self.findings.at_most(name, value, limit * self.setup.lenience, f" {unit}")

    async def until_sourced(self) -> None:
        """Returns when the server has copied every task of the log to the work queue."""
        while True:
            if await self._log_is_sourced():
                return
            await asyncio.sleep(_LOOK)

    async def _log_is_sourced(self) -> bool:
        """Whether the server has copied every task of the log to the work queue.

        It compares sequences, because the `lag` that the server reports is not reliable. After an
        update of an empty work queue it states no sequence until the next task: only then the lag
        counts.
        """
        newest = {"last_by_subj": self.subjects.pattern("task.>")}
        try:
            last = await jetstream.api(self.bus, f"STREAM.MSG.GET.{streams.LOG}", newest)
        except ApiError:
            return True  # the log holds no task
        info = await jetstream.api(self.bus, f"STREAM.INFO.{streams.WORK}")
        [source] = info["sources"]
        if "seq" not in source and not info["state"]["messages"]:
            return source["active"] >= 0 and source["lag"] == 0
        return source.get("seq", 0) >= last["message"]["seq"]

    async def _end_replicas(self) -> None:
        for replica in self.replicas:
            if replica.alive:
                await replica.end(signal.SIGKILL)

    def _on_call(self, _number: int, body: Mapping[str, Any]) -> Behaviour | None:
        """Records the call. The first word of the last message is the id of the task."""
        task = str(body["messages"][-1]["content"]).partition(" ")[0]
        self.calls.record(task, time.time())
        return self.behave(task, body)


@contextlib.asynccontextmanager
async def world(folder: Path, setup: Setup) -> AsyncGenerator[World]:
    """Creates a world in an empty folder, and ends everything in it after the block."""
    embedded = _embedded(folder)
    server = await embedded.ensure()
    async with contextlib.AsyncExitStack() as stack:
        made = World(folder, setup, embedded=embedded, server=server, closing=stack)
        stack.push_async_callback(made.stop_server)
        await made.open()
        yield made


def _embedded(folder: Path, environ: Mapping[str, str] | None = None) -> EmbeddedServer:
    return EmbeddedServer(folder / ".agentd", "always", {**os.environ, **(environ or {})})
