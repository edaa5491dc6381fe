"""Plays all cases of a folder at the same time, on a temporary server."""

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
from agentd.testing.cases.cassette import record
from agentd.testing.cases.junit import JunitReport
from agentd.testing.cases.player import CasePlayer
from agentd.tools.open import every_kind

_AT_ONCE = 8  # cases; the limits of endpoints also apply to calls of real models


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """Which cases are played, and how.

    Attributes:
        only: plays only the cases whose agent or name contains this text.
        live: calls the models that the manifests name.
        record: calls them, too, and writes their answers to the cassettes.
    """

    only: str = ""
    live: bool = False
    record: bool = False


async def play_all(
    catalog: Catalog, suites: Sequence[Suite], options: PlayOptions, settings: Settings
) -> list[JunitReport]:
    """Plays the cases and returns their reports, in the order of the files.

    Raises:
        UsageError: no case is selected, or one of them cannot be played.
        StartError: the embedded server does not start.
    """
    wanted = [
        (suite, case)
        for suite in suites
        for case in suite.cases
        if _is_selected(suite, case, options)
    ]
    if not wanted:
        raise UsageError(
            f"no test name contains {options.only!r}" if options.only else "no tests here"
        )
    room = asyncio.Semaphore(_AT_ONCE)
    async with _player(settings, live=options.live or options.record) as player:

        async def play(suite: Suite, case: Case) -> JunitReport:
            spec, times = catalog.agents[suite.agent], case.runs if player.live else 1
            async with room:
                runs = [await player.play(spec, suite, case) for _ in range(times)]
            needed = case.needed if player.live else 1  # offline, every run is the same
            return JunitReport(suite.agent, case.name, runs, needed)

        reports = await asyncio.gather(*(play(suite, case) for suite, case in wanted))
    if options.record:
        for suite in suites:
            mine = [each for (of, _), each in zip(wanted, reports, strict=True) if of is suite]
            record(suite, {each.case: each.recording for each in mine if each.recording})
    return list(reports)


@contextlib.asynccontextmanager
async def _player(settings: Settings, *, live: bool) -> AsyncGenerator[CasePlayer]:
    """Starts a server in a temporary folder, so that tests see no messages of other runs."""
    with tempfile.TemporaryDirectory(prefix="agentd-test-") as folder:
        own = replace(
            settings, nats="embedded", state=Path(folder) / ".agentd", durability="relaxed"
        )
        subjects, models = Subjects(own.env), Models()
        async with serve(own, lambda _: None) as bus:
            await ensure(bus, own)
            tools = every_kind(bus, subjects)
            try:
                yield CasePlayer(
                    bus=bus,
                    subjects=subjects,
                    models=models,
                    tools=tools,
                    default=ModelRef.of_setting(own.model),
                    live=live,
                )
            finally:
                await tools.close()
                await models.close()


def _is_selected(suite: Suite, case: Case, options: PlayOptions) -> bool:
    return options.only in suite.agent or options.only in case.name
