"""The flags that several commands share, and how a command's coroutine is run."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from agentd.run.attachments import Attachment

_FARTHEST = timedelta(days=3653)

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

At = Annotated[
    str | None,
    typer.Option("--at", help="Not before this time: 2026-11-23T09:00, local or with a zone."),
]
Within = Annotated[str | None, typer.Option("--in", help="Not before so long: 90s, 10m, 2h, 1d.")]


Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="<path>",
        help="Send this image, PDF or text along; may be repeated.",
    ),
]


def attachments(files: list[Path] | None) -> list[Attachment]:
    """The files that `--file` gives.

    Raises:
        UsageError: one cannot be read, is too large, or is of a kind that no model takes.
    """
    from agentd.run.attachments import attachments

    return attachments(files) if files else []


def due(at: str | None, within: str | None) -> datetime | None:
    """The time that `--at` or `--in` gives; None without them."""
    from agentd.manifest.quantities import seconds

    now = datetime.now().astimezone()
    if at and within:
        raise typer.BadParameter("give --at or --in, not both")
    if within:
        try:
            return now + timedelta(seconds=seconds(within))
        except ValueError as error:
            raise typer.BadParameter(
                f"--in {within}: {' – '.join(filter(None, error.args))}"
            ) from None
    if not at:
        return None
    try:
        moment = datetime.fromisoformat(at).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"--at {at} is no time; write 2026-11-23T09:00") from None
    if not now < moment < now + _FARTHEST:
        far = "is in the past" if moment <= now else "is more than ten years away"
        raise typer.BadParameter(f"--at {at} {far}; it is {now:%Y-%m-%dT%H:%M:%S%z} now")
    return moment


def run(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Runs a command to its exit code. Ctrl-C is the user's wish, not an error."""
    import asyncio

    try:
        code = asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(code)
