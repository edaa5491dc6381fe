"""Starts, signals, measures and restarts replicas of `agentd up`.

The zygote forks the replicas. Memory and file descriptors are read from /proc: Linux only.
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
_MARK = "TORTURE_RUN"  # in the environment of every process that belongs to a run


@dataclass(frozen=True)
class TortureProcess:
    """A forked replica; `ended` is its exit status, negative for a signal."""

    pid: int
    ended: asyncio.Future[int]


class Zygote:
    """The client of the process `agentd.testing.torture.zygote`. Create it with `zygote`."""

    def __init__(self, child: asyncio.subprocess.Process, mark: str) -> None:
        assert child.stdin
        assert child.stdout
        self._requests, self._reports = child.stdin, child.stdout
        self._known = {os.getpid(), child.pid}
        self._mark = mark
        self._requested: deque[asyncio.Future[TortureProcess]] = deque()
        self._processes: dict[int, TortureProcess] = {}

    async def fork(self, request: Mapping[str, Any]) -> TortureProcess:
        """Forks a replica. The docstring of the module `zygote` describes a request."""
        answer: asyncio.Future[TortureProcess] = asyncio.get_running_loop().create_future()
        self._requested.append(answer)
        self._requests.write(json.dumps(request).encode() + b"\n")
        async with asyncio.timeout(_START):
            return await answer

    def leave(self) -> None:
        """Ends the zygote, which kills every replica that still runs."""
        self._requests.close()

    def orphans(self) -> list[str]:
        """The pids and command lines of processes that replicas have started and left behind.

        Processes below a replica that still runs do not count: scenarios are played in parallel.
        """
        found: list[str] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in self._known:
                continue
            with contextlib.suppress(OSError):  # it has ended, or belongs to another user
                if self._processes.keys() & set(_lineage(int(entry.name))):
                    continue
                environ = (entry / "environ").read_bytes()
                if self._mark.encode() in environ.split(b"\0"):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{entry.name} {command.decode(errors='replace').strip()}")
        return found

    async def listen(self) -> None:
        """Receives the zygote's reports about starts and ends, until the zygote ends."""
        loop = asyncio.get_running_loop()
        async for line in self._reports:
            report = json.loads(line)
            pid = report["pid"]
            if "status" in report:
                self._processes.pop(pid).ended.set_result(report["status"])
                continue
            self._processes[pid] = TortureProcess(pid, loop.create_future())
            asked = self._requested.popleft()
            if asked.cancelled():  # nobody knows this replica: nobody else would end it
                _kill(pid, signal.SIGKILL)
            else:
                asked.set_result(self._processes[pid])
        # The zygote has killed them with its own end, and could not report that.
        for process in self._processes.values():
            process.ended.set_result(-signal.SIGKILL)


def _kill(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a replica, which may have ended although the report is still under way."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _lineage(pid: int) -> Iterator[int]:
    """The pids of a process, of its parent, and so on.

    Raises:
        OSError: one of them has just ended.
    """
    while pid > 1:
        yield pid
        # The name before the parent's pid may contain anything, parentheses too.
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextlib.asynccontextmanager
async def zygote() -> AsyncGenerator[Zygote]:
    """Starts the zygote, and ends it after the block together with all replicas."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(_AMBIENT)}
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    child = await asyncio.create_subprocess_exec(
        # -P: without it, the current folder could hide modules of the standard library.
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
    """One `agentd up`, which can be started again after its end.

    Attributes:
        tuning: fields of the request to the zygote, such as `without`.
        lives: how often it was started.
        ready_at: when it was last ready to take tasks (`time.time()`).
    """

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
        """The file with the output since the last start."""
        return self.folder / f"{self.name}.{self.lives}.log"

    async def start(self) -> None:
        """Starts the process. Returns once it takes tasks, or has ended."""
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
        while self.alive and " ready in " not in self._output():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} did not start:\n{self._output()}")
            await asyncio.sleep(0.02)
        self.ready_at = time.time()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if the process is alive."""
        if self.alive:
            _kill(self.pid, number)

    async def end(self, number: signal.Signals, within: float = _START) -> int:
        """Sends a signal, and returns the exit status."""
        self.send(number)
        async with asyncio.timeout(within):
            return await self.ended()

    async def ended(self) -> int:
        """Waits until the process ends, and returns its exit status."""
        assert self.process, f"{self.name} has not been started"
        return await asyncio.shield(self.process.ended)

    async def again(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Ends the process and starts it again. Returns the exit status."""
        status = await self.end(number)
        await self.start()
        return status

    @property
    def resident(self) -> int:
        """The resident memory, in bytes."""
        return self._status("VmRSS") * 1024

    @property
    def peak(self) -> int:
        """The highest value of `resident` so far, in bytes."""
        return self._status("VmHWM") * 1024

    @property
    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    async def tasks(self) -> int:
        """How many asyncio tasks the process has. Their stacks are then in `{log}.stacks`."""
        file = Path(f"{self.log}.tasks")
        self.send(signal.SIGUSR2)
        deadline = time.monotonic() + _START
        while not (count := _taken(file)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} did not report its asyncio tasks")
            await asyncio.sleep(0.02)
        return int(count.split()[0])

    async def http(self, path: str) -> tuple[int, str]:
        """The status and the body of a GET to its HTTP server."""
        reader, writer = await asyncio.open_connection(*self.address())
        try:
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        finally:
            writer.close()
        return int(head.split(" ", 2)[1]), body

    def address(self) -> tuple[str, int]:
        """The host and the port of its HTTP server.

        Raises:
            RuntimeError: it has not printed them yet.
        """
        found = re.search(r"http://([\d.]+):(\d+)", self._output())
        if found is None:
            raise RuntimeError(f"{self.name} did not print the address of its HTTP server")
        return found[1], int(found[2])

    def _output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _status(self, key: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
        raise KeyError(key)


def _taken(file: Path) -> str:
    """Reads a file and renames it to `.stacks`; returns "" if it does not exist yet."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return ""
    file.replace(file.with_suffix(".stacks"))
    return text
