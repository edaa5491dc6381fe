"""The time until `agentd --help` has ended, and until `agentd up` takes tasks."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from bench.figures import Figure, Section
from bench.rig import AGENTD, agentd_up, clean_environ, manifest, write_project

_AGENTS = 6  # as in the example


async def measure(*, repeats: int) -> list[Section]:
    """One section."""
    with tempfile.TemporaryDirectory(prefix="agentd-bench-") as name:
        folder = Path(name)
        helps = [await _help(folder) for _ in range(repeats)]
        new = [await _up(folder / f"new{number}") for number in range(repeats)]
        again = [await _up_again(folder / "new0") for _ in range(repeats)]
    return [
        Section(
            title="Start-up",
            figures=[
                Figure(name="agentd --help", unit="s", samples=tuple(helps), at_most=0.3),
                *_figures("up, new project", new),
                *_figures("up, store is there", again),
            ],
            notes=[
                f"From exec to the line that says ready, with {_AGENTS} agents on the mock model. "
                "The start of the embedded nats-server is included. Files are in the page cache.",
            ],
        )
    ]


def _figures(name: str, starts: list[tuple[float, float]]) -> list[Figure]:
    walls, cpus = zip(*starts, strict=True)
    return [
        Figure(name=name, unit="s", samples=walls, at_most=1.5),
        Figure(name=f"{name}, CPU of agentd", unit="s", samples=cpus),
    ]


async def _help(folder: Path) -> float:
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        AGENTD, "--help", cwd=folder, env=clean_environ(), stdout=asyncio.subprocess.DEVNULL
    )
    code = await process.wait()
    seconds = time.perf_counter() - started
    if code:
        raise RuntimeError(f"agentd --help ended with {code}")
    return seconds


async def _up(project: Path) -> tuple[float, float]:
    write_project(
        project,
        {f"agent{number}": manifest(f"work{number}", "mock/echo") for number in range(_AGENTS)},
    )
    return await _up_again(project)


async def _up_again(project: Path) -> tuple[float, float]:
    """The seconds until it is ready, and the CPU seconds that it has used by then."""
    async with agentd_up(project, clean_environ()) as child:
        return child.seconds, child.cpu()
