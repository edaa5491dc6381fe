"""`agentd validate`: reports every problem in the files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import Style, Styled, say, say_json

if TYPE_CHECKING:
    from agentd.catalog.catalog import Catalog
    from agentd.catalog.spec import AgentSpec
    from agentd.problems import Problem


def validate(
    manifests: options.Manifests = Path("manifests"),
    prompts: options.Prompts = None,
    keys: Annotated[
        bool, typer.Option("--keys/--no-keys", help="Whether a missing API key is an error.")
    ] = True,
    json: options.Json = False,
) -> None:
    """Check manifests, prompts and tools, as `agentd up` does; exits with 2 on errors."""
    from asyncio import run
    from time import time

    from agentd.catalog.catalog import load, merge_problems
    from agentd.errors import UsageError
    from agentd.problems import errors
    from agentd.routing import timetable

    catalog = load(manifests, prompts=prompts)
    if not catalog.agents and not catalog.problems:
        raise UsageError(f"no manifest in {manifests}; create one with `agentd new NAME`")
    checked = run(_of_models_and_tools(catalog, keys))
    schedules = [list(timetable.check(spec, time())) for spec, _ in checked]
    problems = merge_problems(catalog.problems, *(found for _, found in checked), *schedules)
    show = _print_json if json else _print_text
    able = {spec.name for spec, found in checked if not errors(found)}
    show(sorted(able & catalog.agents.keys()), problems)
    raise typer.Exit(2 if errors(problems) else 0)


async def _of_models_and_tools(
    catalog: Catalog, keys: bool
) -> list[tuple[AgentSpec, list[Problem]]]:
    """Every agent with the problems that `agentd up` finds after the files are loaded.

    This imports the files in `tools/`, in a worker process.
    """
    from agentd.models.choose import Models
    from agentd.runtime.revision_builder import RevisionBuilder
    from agentd.settings import from_environment
    from agentd.tools.open import for_checks

    tools = for_checks()
    builder = RevisionBuilder(Models(), tools, from_environment())
    try:
        specs = (*catalog.agents.values(), *catalog.faulty)
        found = [await builder.check(spec, keys=keys) for spec in specs]
        return list(zip(specs, found, strict=True))
    finally:
        await tools.close()


def _print_json(agents: Sequence[str], problems: Sequence[Problem]) -> None:
    from agentd.problems import errors

    wrong = len(errors(problems))
    report = {
        "agents": agents,
        "errors": wrong,
        "warnings": len(problems) - wrong,
        "problems": [problem.as_json() for problem in problems],
    }
    say_json(report, indent=2)


def _print_text(agents: Sequence[str], problems: Sequence[Problem]) -> None:
    from agentd.problems import errors

    colours: dict[str, Style] = {"error": "red", "warning": "yellow"}
    for problem in problems:
        head, _, rest = problem.render().partition("\n")
        place, kind, text = head.partition(f"{problem.severity}:")
        say(place, Styled(kind, colours[problem.severity]), text)
        if rest:
            say(rest, lines=True)
    wrong = len(errors(problems))
    counts = {"agent": len(agents), "error": wrong, "warning": len(problems) - wrong}
    say(", ".join(_count(number, noun) for noun, number in counts.items()))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
