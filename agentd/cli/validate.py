"""`agentd validate`: says all that is wrong with the files of a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agentd.cli import options

if TYPE_CHECKING:
    from agentd.catalog import Catalog
    from agentd.problems import Problem


def validate(
    manifests: options.Manifests = Path("manifests"),
    prompts: options.Prompts = None,
    json: options.Json = False,
) -> None:
    """Check manifests, prompts and scripts; exits with 2 when there are errors."""
    from agentd.catalog import load
    from agentd.errors import UsageError
    from agentd.problems import errors

    catalog = load(manifests, prompts=prompts)
    if not catalog.agents and not catalog.problems:
        raise UsageError(f"{manifests} holds no manifests; `agentd new NAME` writes one")
    wrong = errors(catalog.problems)
    if json:
        _print_json(catalog, wrong)
    else:
        _print_text(catalog, wrong)
    raise typer.Exit(2 if wrong else 0)


def _print_json(catalog: Catalog, wrong: Sequence[Problem]) -> None:
    report = {
        "agents": sorted(catalog.agents),
        "errors": len(wrong),
        "warnings": len(catalog.problems) - len(wrong),
        "problems": [problem.as_json() for problem in catalog.problems],
    }
    typer.echo(json.dumps(report, indent=2, ensure_ascii=False))


def _print_text(catalog: Catalog, wrong: Sequence[Problem]) -> None:
    colours = {"error": typer.colors.RED, "warning": typer.colors.YELLOW}
    for problem in catalog.problems:
        head, _, rest = problem.render().partition("\n")
        kind = typer.style(f"{problem.severity}:", fg=colours[problem.severity], bold=True)
        typer.echo(head.replace(f"{problem.severity}:", kind, 1) + (f"\n{rest}" if rest else ""))
    counts = [
        _count(len(catalog.agents), "agent"),
        _count(len(wrong), "error"),
        _count(len(catalog.problems) - len(wrong), "warning"),
    ]
    typer.echo(", ".join(counts))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
