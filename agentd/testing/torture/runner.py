"""Plays scenarios, prints a line for each, and a summary as JSON."""

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
from agentd.testing.torture.findings import Findings
from agentd.testing.torture.harness import Setup, world
from agentd.testing.torture.processes import Zygote, zygote
from agentd.testing.torture.scenario import Scenario, Size

_SHOWN = 12  # broken promises of a scenario that are printed
_LIMIT = 1800.0  # seconds after which a scenario is given up
_LENIENCE = 5.0  # factor of the time limits in the short form, which runs beside other tests
_SAMPLE = 0.1  # seconds of CPU


@dataclass(frozen=True, kw_only=True)
class Order:
    """The scenarios to play, and how.

    Attributes:
        tasks: replaces the number of tasks of each scenario.
        short: the size of CI: fewer tasks, redelivery after 3 s, time limits five times as long.
        without: safeguards to remove from the replicas.
        jobs: how many scenarios are played at the same time.
    """

    scenarios: Sequence[Scenario]
    seed: int
    tasks: int | None = None
    short: bool = False
    without: tuple[str, ...] = ()
    jobs: int = 1


@dataclass(frozen=True, kw_only=True)
class ScenarioReport:
    """The figures and the broken promises of one scenario."""

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
        shown = [*self.broken[:_SHOWN]]
        if len(self.broken) > _SHOWN:
            shown.append(f"… and {len(self.broken) - _SHOWN} more")
        return "\n".join([line, *(f"{'':<12} {sentence}" for sentence in shown)])

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "passed": self.passed}


async def play(order: Order, say: Callable[[str], None]) -> list[ScenarioReport]:
    """Plays every scenario; `say` receives a line when one has ended."""
    turn = asyncio.Semaphore(order.jobs)

    async def one(scenario: Scenario, setup: Setup) -> ScenarioReport:
        async with turn:  # reports come in the order in which scenarios end
            if order.short:
                setup = replace(setup, slowness=await asyncio.to_thread(_slowness))
            report = await _play_one(scenario, size_of(scenario, order), setup)
        say(report.as_line())
        return report

    async with zygote() as forks, asyncio.TaskGroup() as group:
        setup = Setup(zygote=forks, seed=order.seed, without=order.without)
        if order.short:
            setup = replace(setup, ack_wait=3.0, lenience=_LENIENCE)
        playing = [group.create_task(one(scenario, setup)) for scenario in order.scenarios]
    return [each.result() for each in playing]


def summary(order: Order, reports: Sequence[ScenarioReport]) -> str:
    """All reports as one JSON object."""
    return json.dumps(
        {
            "passed": all(report.passed for report in reports),
            "seed": order.seed,
            "short": order.short,
            "without": order.without,
            "scenarios": [report.as_json() for report in reports],
        }
    )


def size_of(scenario: Scenario, order: Order) -> Size:
    """The size in which a scenario is played."""
    size = scenario.short if order.short else scenario.full
    return replace(size, tasks=order.tasks) if order.tasks else size


def _slowness() -> float:
    """How many times longer than its CPU time a computation takes now; 1 on an idle machine."""
    started, used = time.monotonic(), time.thread_time()
    while (cpu := time.thread_time() - used) < _SAMPLE:
        sum(range(1000))
    return max(1.0, (time.monotonic() - started) / cpu)


async def _play_one(scenario: Scenario, size: Size, setup: Setup) -> ScenarioReport:
    folder = Path(tempfile.mkdtemp(prefix=f"agentd-torture-{scenario.name}-"))
    started = time.monotonic()
    findings = Findings()
    try:
        async with asyncio.timeout(_LIMIT), world(folder, setup) as here:
            findings = here.findings
            await scenario.play(here, size)
            findings.close()
    except (AgentdError, OSError, TimeoutError, ExceptionGroup) as error:
        if (task := asyncio.current_task()) and task.cancelling():
            # What fails while an interrupted scenario is cleaned up is no finding.
            shutil.rmtree(folder, ignore_errors=True)
            raise asyncio.CancelledError from error
        findings.broken.append(f"stopped before its end: {type(error).__name__}: {error}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # interrupted by the user, who needs no logs
        raise
    seconds = time.monotonic() - started
    if size.seconds is not None:
        findings.require(
            seconds <= size.seconds * setup.lenience,
            f"took {seconds:.1f} s, the goal is {size.seconds:g} s",
        )
    # The world has ended its replicas by now: whatever they started must have ended with them.
    if left := await _left_behind(setup.zygote):
        findings.broken.append(f"left processes behind: {', '.join(left)}")
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
    """Removes the folder of a scenario; `keep` keeps all but the store, which can be gigabytes."""
    shutil.rmtree(folder / ".agentd" / "store" if keep else folder, ignore_errors=True)


async def _left_behind(parent: Zygote) -> list[str]:
    """The processes that are left. A killed process needs a moment until it has ended."""
    left: list[str] = []
    for _ in range(50):
        left = parent.orphans()
        if not left:
            break
        await asyncio.sleep(0.2)
    return left
