"""A process: starts it, reads its CPU time and its memory, stops it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
_PATIENCE = 60.0  # seconds until a process must be ready


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process that has printed that it is ready.

    Attributes:
        line: the line that says so.
        seconds: the time from its start to this line.
    """

    pid: int
    line: str
    seconds: float
    process: asyncio.subprocess.Process = field(repr=False)

    def cpu(self) -> float:
        """The CPU seconds that it has used, in user space and in the kernel."""
        return cpu(self.pid)

    def rss(self) -> float:
        """Its resident memory, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


def cpu(pid: int) -> float:
    """The CPU seconds that all threads of a process have used (proc(5))."""
    # The name, in parentheses, may contain spaces.
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) * _TICK


def machine_cpu() -> float:
    """The CPU seconds that all processes of this machine have used."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) * _TICK


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str | Path],
    *,
    ready: str,
    folder: Path,
    environ: Mapping[str, str] = os.environ,
) -> AsyncGenerator[Child]:
    """Runs `command` in `folder` until the block ends.

    The block starts when a line of stdout contains the text `ready`. Stderr goes to a file.

    Raises:
        RuntimeError: it ended, or was not ready in time. The text contains the end of its stderr.
    """
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("ab") as errors:
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=dict(environ), stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    try:
        line = await _line_with(ready, process)
        if line is None:
            output = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{command[0]} was never ready:\n{output}")
        yield Child(
            pid=process.pid, line=line, seconds=time.perf_counter() - started, process=process
        )
    finally:
        await _stop(process)


async def _line_with(text: str, process: asyncio.subprocess.Process) -> str | None:
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            async for line in process.stdout:
                if text in line.decode():
                    return line.decode().strip()
    return None


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Sends SIGTERM, and SIGKILL if the process does not end in time."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(20):
            # Reads stdout to its end: a process that writes to a full pipe would never end.
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
