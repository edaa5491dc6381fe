"""`agentd test`: runs the test cases of agents, `NAME.test.yaml` beside their manifests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import Styled, say, say_json

if TYPE_CHECKING:
    from agentd.catalog.catalog import Catalog
    from agentd.testing.cases.case import Suite
    from agentd.testing.cases.junit import JunitReport


def play(
    manifests: options.Manifests = Path("manifests"),
    prompts: options.Prompts = None,
    only: Annotated[
        str, typer.Option("--only", "-k", help="Only agents and cases with this in their name.")
    ] = "",
    live: Annotated[
        bool, typer.Option("--live", help="Call the models that the manifests name.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Call them, and save their answers beside the tests.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report to this file.")] = None,
    as_json: options.Json = False,
) -> None:
    """Run the tests of agents; exits with 1 if one fails.

    Without --live or --record no real model is called.
    """
    from agentd.settings import from_environment
    from agentd.testing.cases.junit import write
    from agentd.testing.cases.session import PlayOptions, play_all

    catalog, suites = _read(manifests, prompts)
    play_options = PlayOptions(only=only, live=live, record=record)
    reports = asyncio.run(play_all(catalog, suites, play_options, from_environment(env="test")))
    if junit:
        write(junit, reports)
    (_print_json if as_json else _print)(reports, record)
    raise typer.Exit(0 if all(report.passed for report in reports) else 1)


def _read(manifests: Path, prompts: Path | None) -> tuple[Catalog, list[Suite]]:
    """The agents and their tests.

    Raises:
        UsageError: with every problem of the files, or if there are no tests.
    """
    from agentd.catalog.catalog import load
    from agentd.errors import UsageError
    from agentd.problems import did_you_mean, errors
    from agentd.testing.cases.case import read_suites

    catalog = load(manifests, prompts=prompts)
    suites, problems = read_suites(manifests)
    found = [*errors(catalog.problems), *errors(problems)]
    texts = [problem.render() for problem in found]
    # An agent that does not load is missing from the catalog: its own problem is enough then.
    texts += [
        f"{suite.file}: there is no agent `{suite.agent}`; "
        + (
            did_you_mean(suite.agent, catalog.agents)
            or "name it with `agent:`, or by the file's name"
        )
        for suite in suites
        if suite.agent not in catalog.agents and not found
    ]
    if texts:
        raise UsageError("\n".join(texts))
    if not suites:
        raise UsageError(f"{manifests} has no tests; create one with `agentd new NAME --test`")
    return catalog, suites


def _print(reports: Sequence[JunitReport], record: bool) -> None:
    for report in reports:
        good = sum(run.passed for run in report.runs)
        runs = f", {good} of {len(report.runs)} runs" if len(report.runs) > 1 else ""
        word = Styled("pass", "green") if report.passed else Styled("FAIL", "red")
        turns = max(run.turns for run in report.runs)
        say(word, f"  {report.agent}: {report.case} ({_turns(turns)}{runs})")
        if not report.passed:
            for mismatch in report.mismatches:
                say(f"      {mismatch}", lines=True)
        if record and not report.recording:
            say("      not recorded, because it failed; an earlier recording is kept")
        if report.changes:
            changed = ", ".join(report.changes)
            say(f"      recorded before these changed: {changed}; record it again: --record")
    failed = sum(not report.passed for report in reports)
    say(f"{len(reports) - failed} passed" + (f", {failed} failed" if failed else ""))


def _turns(number: int) -> str:
    return f"{number} turn{'' if number == 1 else 's'}"


def _print_json(reports: Sequence[JunitReport], record: bool) -> None:
    results = [
        {
            "agent": report.agent,
            "case": report.case,
            "passed": report.passed,
            "runs": [{"passed": run.passed, "mistakes": run.mismatches} for run in report.runs],
            "seconds": round(report.seconds, 3),
            "changed": list(report.changes),
            "recorded": record and report.recording is not None,
        }
        for report in reports
    ]
    say_json(results, indent=2)
