"""Plays scenarios one after the other, and prints a line for each and a summary of all."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentd.errors import AgentdError
from agentd.testing.torture.harness import Findings, Setup, world
from agentd.testing.torture.processes import Zygote, zygote
from agentd.testing.torture.scenario import Scenario, Size

_TOLD = 12  # sentences
_LIMIT = 1800.0  # seconds for one scenario, whatever happens


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to play and how.

    Attributes:
        tasks: in place of each scenario's own number.
        short: the measure of CI: fewer tasks, redelivery after 3 s, time limits five times as long.
        without: safeguards to be taken out of the replicas.
        jobs: how many are played at once; much of the time is spent waiting.
    """

    scenarios: Sequence[Scenario]
    seed: int
    tasks: int | None = None
    short: bool = False
    without: tuple[str, ...] = ()
    jobs: int = 1


@dataclass(frozen=True, kw_only=True)
class ScenarioReport:
    """How a scenario went."""

    name: str
    goal: str
    seed: int
    seconds: float
    figures: Mapping[str, float | str]
    broken: Sequence[str]

    @property
    def passed(self) -> bool:
        return not self.broken

    def as_line(self) -> str:
        figures = [
            f"{value:,} {name.replace('_', ' ')}" if isinstance(value, int | float) else value
            for name, value in self.figures.items()
        ]
        verdict = "PASS" if self.passed else "FAIL"
        line = f"{self.name:<12} {verdict}  {' · '.join([*figures, f'{self.seconds:.1f} s'])}"
        told = [*self.broken[:_TOLD]]
        if len(self.broken) > _TOLD:
            told.append(f"… and {len(self.broken) - _TOLD} more")
        return "\n".join([line, *(f"{'':<12} {sentence}" for sentence in told)])

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "passed": self.passed}


async def play(order: Order, say: Callable[[str], None]) -> list[ScenarioReport]:
    """Plays every scenario; `say` gets a line as each ends."""
    turn = asyncio.Semaphore(order.jobs)

    async def one(scenario: Scenario, setup: Setup) -> ScenarioReport:
        async with turn:
            report = await _play_one(scenario, _size(scenario, order), setup)
        say(report.as_line())
        return report

    async with zygote() as forks, asyncio.TaskGroup() as group:
        setup = Setup(zygote=forks, seed=order.seed, without=order.without)
        if order.short:
            setup = replace(setup, ack_wait=3.0, lenience=5.0)
        playing = [group.create_task(one(scenario, setup)) for scenario in order.scenarios]
    return [each.result() for each in playing]


def summary(order: Order, reports: Sequence[ScenarioReport]) -> str:
    """All of it as one JSON object."""
    return json.dumps(
        {
            "passed": all(report.passed for report in reports),
            "seed": order.seed,
            "short": order.short,
            "without": order.without,
            "scenarios": [report.as_json() for report in reports],
        }
    )


def _size(scenario: Scenario, order: Order) -> Size:
    size = scenario.short if order.short else scenario.full
    return replace(size, tasks=order.tasks) if order.tasks else size


async def _play_one(scenario: Scenario, size: Size, setup: Setup) -> ScenarioReport:
    folder = Path(tempfile.mkdtemp(prefix=f"agentd-torture-{scenario.name}-"))
    started = time.monotonic()
    findings = Findings()
    try:
        async with asyncio.timeout(_LIMIT), world(folder, setup) as here:
            findings = here.findings
            await scenario.play(here, size)
    except (AgentdError, OSError, TimeoutError, ExceptionGroup) as error:
        findings.broken.append(f"could not be played to its end: {type(error).__name__}: {error}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # interrupted: nobody will ask for the logs
        raise
    seconds = time.monotonic() - started
    if size.seconds is not None:
        findings.require(
            seconds <= size.seconds * setup.lenience,
            f"took {seconds:.1f} s, the goal is {size.seconds:g} s",
        )
    if left := await _left_behind(setup.zygote):
        findings.broken.append(f"left behind: {', '.join(left)}")
    _tidy(folder, keep=bool(findings.broken))
    if findings.broken:
        findings.figures["logs"] = str(folder)
    return ScenarioReport(
        name=scenario.name,
        goal=scenario.goal,
        seed=setup.seed,
        seconds=round(seconds, 1),
        figures=findings.figures,
        broken=findings.broken,
    )


def _tidy(folder: Path, *, keep: bool) -> None:
    """Of a scenario that failed the logs and manifests stay; stores can be gigabytes."""
    shutil.rmtree(folder / ".agentd" / "store" if keep else folder, ignore_errors=True)


async def _left_behind(parent: Zygote) -> list[str]:
    """What is still there after a while: a process that was killed takes a moment to be gone."""
    left: list[str] = []
    for _ in range(50):
        left = parent.orphans()
        if not left:
            break
        await asyncio.sleep(0.2)
    return left
