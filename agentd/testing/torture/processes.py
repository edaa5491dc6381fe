"""The processes of a scenario: replicas of `agentd up`, forked from the zygote, and their insides.

What a process is made of is read from /proc, so this runs on Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_AMBIENT = ("AGENTD_", "NATS_", "OPENAI_", "OTEL_")
_START = 60.0  # seconds
_MARK = "TORTURE_RUN"


@dataclass(frozen=True)
class TortureProcess:
    """A forked replica; `ended` is its exit status, negative for a signal."""

    pid: int
    ended: asyncio.Future[int]


class Zygote:
    """Our end of `agentd.testing.torture.zygote`; made by `zygote`."""

    def __init__(self, child: asyncio.subprocess.Process, mark: str) -> None:
        assert child.stdin
        assert child.stdout
        self._requests, self._facts = child.stdin, child.stdout
        self._known = {os.getpid(), child.pid}
        self._mark = mark
        self._asked: deque[asyncio.Future[TortureProcess]] = deque()
        self._processes: dict[int, TortureProcess] = {}

    async def fork(self, request: Mapping[str, Any]) -> TortureProcess:
        """A new replica; see the zygote for what a request says."""
        answer: asyncio.Future[TortureProcess] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._requests.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(_START):
            return await answer

    def leave(self) -> None:
        """Ends the zygote, and every replica that is left."""
        self._requests.close()

    def orphans(self) -> list[str]:
        """Command lines of processes that replicas started and left behind; those that belong to a
        replica of a scenario that is played beside this one are none."""
        found: list[str] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in self._known:
                continue
            with contextlib.suppress(OSError):  # it ended, or is another user's
                if self._processes.keys() & set(_lineage(int(entry.name))):
                    continue
                environ = (entry / "environ").read_bytes()
                if self._mark.encode() in environ.split(b"\0"):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{entry.name} {command.decode(errors='replace').strip()}")
        return found

    async def listen(self) -> None:
        """Takes in what is told of processes, to the zygote's end."""
        loop = asyncio.get_running_loop()
        async for line in self._facts:
            fact = json.loads(line)
            pid = fact["pid"]
            if "status" in fact:
                self._processes.pop(pid).ended.set_result(fact["status"])
            else:
                self._processes[pid] = TortureProcess(pid, loop.create_future())
                self._asked.popleft().set_result(self._processes[pid])
        for process in self._processes.values():
            process.ended.set_result(-signal.SIGKILL)


def _lineage(pid: int) -> Iterator[int]:
    """The process, its parent, and so on. Raises OSError when one of them ends meanwhile."""
    while pid > 1:
        yield pid
        # The name before the parent's number may hold anything, brackets too.
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextlib.asynccontextmanager
async def zygote() -> AsyncGenerator[Zygote]:
    """A process to fork replicas from; those that are left are killed with it."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(_AMBIENT)}
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "agentd.testing.torture.zygote"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**environ, _MARK: mark},
    )
    made = Zygote(child, f"{_MARK}={mark}")
    listening = asyncio.create_task(made.listen())
    try:
        yield made
    finally:
        made.leave()
        await child.wait()
        await listening


@dataclass(eq=False)
class ReplicaProcess:
    """One `agentd up`, from life to life. `lives` counts them; `ready_at` is `time.time()`."""

    name: str
    folder: Path
    argv: Sequence[str]
    zygote: Zygote = field(repr=False)
    seed: int
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    tuning: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lives: int = 0
    ready_at: float = 0.0
    process: TortureProcess | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        assert self.process, f"{self.name} has not been started"
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and not self.process.ended.done()

    @property
    def log(self) -> Path:
        """What its present life has printed."""
        return self.folder / f"{self.name}.{self.lives}.log"

    async def start(self) -> None:
        """Begins a new life; returns once it takes tasks, or has ended."""
        self.lives += 1
        self.process = await self.zygote.fork(
            {
                "argv": list(self.argv),
                "environ": dict(self.environ),
                "log": str(self.log),
                "seed": self.seed + self.lives,
                **self.tuning,
            }
        )
        deadline = time.monotonic() + _START
        while self.alive and " ready in " not in self._said():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} did not start:\n{self._said()}")
            await asyncio.sleep(0.02)
        self.ready_at = time.time()

    def send(self, number: signal.Signals) -> None:
        """A signal, if it lives."""
        if self.alive:
            os.kill(self.pid, number)

    async def end(self, number: signal.Signals, within: float = _START) -> int:
        """A signal, and the exit status that follows."""
        self.send(number)
        async with asyncio.timeout(within):
            return await self.ended()

    async def ended(self) -> int:
        """Waits for the end of this life; its exit status."""
        assert self.process, f"{self.name} has not been started"
        return await asyncio.shield(self.process.ended)

    async def again(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Ends it and starts it anew; the status it ended with."""
        status = await self.end(number)
        await self.start()
        return status

    @property
    def resident(self) -> int:
        """Bytes of memory that are its own now."""
        return self._status("VmRSS") * 1024

    @property
    def peak(self) -> int:
        """The most `resident` ever was."""
        return self._status("VmHWM") * 1024

    @property
    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    async def tasks(self) -> int:
        """How many asyncio tasks it has; where they wait is in `{log}.stacks` then."""
        told = Path(f"{self.log}.tasks")
        self.send(signal.SIGUSR2)
        deadline = time.monotonic() + _START
        while not (count := _taken(told)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not count its tasks")
            await asyncio.sleep(0.02)
        return int(count.split()[0])

    async def http(self, path: str) -> tuple[int, str]:
        """Status and body of a GET to its health server."""
        address = re.search(r"http://([\d.]+):(\d+)", self._said())
        if address is None:
            raise RuntimeError(f"{self.name} names no address of its health server")
        reader, writer = await asyncio.open_connection(address[1], int(address[2]))
        try:
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        finally:
            writer.close()
        return int(head.split(" ", 2)[1]), body

    def _said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _status(self, key: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
        raise KeyError(key)


def _taken(file: Path) -> str:
    """The text of a file, which gets another name then; empty if there is none yet."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return ""
    file.replace(file.with_suffix(".stacks"))
    return text
