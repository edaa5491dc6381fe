"""The flags that several commands share, and how a command's coroutine is run."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

Env = Annotated[
    str | None, typer.Option("--env", help="Environment, the second token of every subject [dev].")
]
Nats = Annotated[
    str | None,
    typer.Option("--nats", help="A NATS URL, or `embedded` [NATS_URL, nats context, embedded]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Manifests = Annotated[Path, typer.Argument(help="The folder of the manifests.")]
Prompts = Annotated[
    Path | None, typer.Option("--prompts", help="The folder of the prompts [beside the manifests].")
]


def run(work: Coroutine[Any, Any, int]) -> None:
    """Runs a command to its exit code. Ctrl-C is the user's wish, not an error."""
    import asyncio

    try:
        code = asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(code)
