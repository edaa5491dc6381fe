"""`agentd validate`: reports every problem in the files of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import Style, Styled, say, say_json

if TYPE_CHECKING:
    from agentd.catalog.catalog import Catalog
    from agentd.manifest.agent import Manifest, ModelRef
    from agentd.problems import Problem


def validate(
    manifests: options.Manifests = Path("manifests"),
    prompts: options.Prompts = None,
    json: options.Json = False,
) -> None:
    """Check manifests, prompts and tools; exits with 2 on errors."""
    from asyncio import run

    from agentd.catalog.catalog import load, merge_problems
    from agentd.errors import UsageError
    from agentd.problems import errors

    catalog = load(manifests, prompts=prompts)
    if not catalog.agents and not catalog.problems:
        raise UsageError(f"no manifest in {manifests}; create one with `agentd new NAME`")
    problems = merge_problems(catalog.problems, _of_models(catalog), run(_of_tools(catalog)))
    show = _print_json if json else _print_text
    show(sorted(catalog.agents), problems)
    raise typer.Exit(2 if errors(problems) else 0)


def _of_models(catalog: Catalog) -> Iterator[Problem]:
    """The problems of models that cannot be used.

    A script of a mock is part of the files: an error. Keys and addresses may be different where
    the agents will run: a warning.
    """
    from agentd.models.choose import Models

    models = Models()
    for spec in catalog.agents.values():
        for place, ref in _named(spec.manifest):
            mock = ref.name.startswith("mock/")
            loc = (*place, "script" if mock else "name")
            for text in models.check(ref):
                yield spec.problem(*loc, text=text, severity="error" if mock else "warning")


def _named(manifest: Manifest) -> Iterator[tuple[tuple[str | int, ...], ModelRef]]:
    """The models that a manifest names, each with its place."""
    for index, ref in enumerate(manifest.model):
        yield ("model", index), ref
    if manifest.history and manifest.history.model:
        yield ("history", "model"), manifest.history.model


async def _of_tools(catalog: Catalog) -> list[Problem]:
    """The problems of Python tools, programs and MCP servers. This imports the files in `tools/`,
    in a worker process."""
    from agentd.tools.command_tool import CommandTools
    from agentd.tools.mcp_tool import McpServers
    from agentd.tools.open import Tools
    from agentd.tools.python_tool import PythonTools

    # The other kinds have nothing to check before a call, and some need a connection.
    tools = Tools({"python": PythonTools(), "command": CommandTools(), "mcp": McpServers()})
    try:
        return [each for spec in catalog.agents.values() for each in await tools.check(spec)]
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
