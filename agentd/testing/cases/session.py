"""All tests of a folder in one go, on a server of their own."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.catalog.catalog import Catalog
from agentd.errors import UsageError
from agentd.manifest.model import ModelRef
from agentd.models.choose import Models
from agentd.nats.session import serve
from agentd.nats.streams import ensure
from agentd.protocol.subjects import Subjects
from agentd.settings import Settings
from agentd.testing.cases.case import Case, Suite
from agentd.testing.cases.junit import JunitReport
from agentd.testing.cases.player import CaseRun, Studio, keep
from agentd.tools.open import every_kind

_AT_ONCE = 8  # cases; calls of real models are bounded by their endpoints besides


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Which tests are played, and how: those whose agent or name holds `only`."""

    only: str = ""
    live: bool = False
    record: bool = False


async def play_all(
    catalog: Catalog, suites: Sequence[Suite], wish: Wish, settings: Settings
) -> list[JunitReport]:
    """Plays the cases side by side; what came of each, in the order of the files.

    Raises:
        UsageError: there are none, or one of them cannot be played.
        StartError: the embedded server does not start.
    """
    wanted = [(suite, case) for suite in suites for case in suite.cases if _is(suite, case, wish)]
    if not wanted:
        raise UsageError(f"no test is called like {wish.only!r}" if wish.only else "no tests here")
    room = asyncio.Semaphore(_AT_ONCE)
    async with _studio(settings, live=wish.live or wish.record) as studio:

        async def play(suite: Suite, case: Case) -> JunitReport:
            spec, times = catalog.agents[suite.agent], case.runs if studio.live else 1
            async with room:
                runs = [await studio.play(spec, suite, case) for _ in range(times)]
            needed = case.needed if studio.live else 1
            return JunitReport(suite.agent, case.name, runs, needed)

        reports = await asyncio.gather(*(play(suite, case) for suite, case in wanted))
    if wish.record:
        for suite in suites:
            mine = [each for (of, _), each in zip(wanted, reports, strict=True) if of is suite]
            keep(suite, {report.case: _best(report.runs).tape for report in mine})
    return list(reports)


@contextlib.asynccontextmanager
async def _studio(settings: Settings, *, live: bool) -> AsyncGenerator[Studio]:
    """A server in a folder that is deleted afterwards: no test sees what is on record elsewhere."""
    with tempfile.TemporaryDirectory(prefix="agentd-test-") as folder:
        own = replace(
            settings, nats="embedded", state=Path(folder) / ".agentd", durability="relaxed"
        )
        subjects, models = Subjects(own.env), Models()
        async with serve(own, lambda _: None) as bus:
            await ensure(bus, own)
            tools = every_kind(bus, subjects)
            try:
                yield Studio(
                    bus=bus,
                    subjects=subjects,
                    models=models,
                    tools=tools,
                    default=ModelRef(name=own.model),
                    live=live,
                )
            finally:
                await tools.close()
                await models.close()


def _is(suite: Suite, case: Case, wish: Wish) -> bool:
    return wish.only in suite.agent or wish.only in case.name


def _best(runs: Sequence[CaseRun]) -> CaseRun:
    """The run that is kept: the first that passed."""
    return next((run for run in runs if run.passed), runs[0])
