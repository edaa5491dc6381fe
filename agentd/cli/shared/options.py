"""The flags that several commands share, and the function that runs a command's coroutine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from agentd.run.attachments import Attachment

_FARTHEST = timedelta(days=3653)

Env = Annotated[
    str | None,
    typer.Option("--env", help="The environment: the second token of every subject [dev]."),
]
Nats = Annotated[
    str | None,
    typer.Option("--nats", help="A NATS URL, or `embedded` [NATS_URL, nats context, embedded]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Manifests = Annotated[Path, typer.Argument(help="The folder of the manifests.")]
Prompts = Annotated[
    Path | None, typer.Option("--prompts", help="The folder of the prompts [beside the manifests].")
]

At = Annotated[
    str | None,
    typer.Option("--at", help="Send it at this time: 2026-11-23T09:00 or 2026-11-23T09:00Z."),
]
Within = Annotated[
    str | None, typer.Option("--in", help="Send it after this time: 90s, 10m, 2h, 1d.")
]


Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="<path>",
        help="Attach this image, PDF or text; repeatable.",
    ),
]


def attachments(files: list[Path] | None) -> list[Attachment]:
    """The files that `--file` gives.

    Raises:
        UsageError: one cannot be read, is too large, or is of a kind that no model takes.
    """
    from agentd.run.attachments import attachments

    return attachments(files) if files else []


def read(file: Path | None) -> bytes:
    """The bytes of a file; None and `-` mean standard input.

    Raises:
        UsageError: the file cannot be read.
    """
    from agentd.errors import UsageError

    if file is None or str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def duration(flag: str, text: str | None, *, longest: float = 86400.0) -> float | None:
    """The seconds that a flag gives, `90s` or `10m` for example; None without it."""
    from agentd.manifest.quantities import seconds

    try:
        return None if text is None else seconds(text, longest=longest)
    except ValueError as error:
        reason = "; ".join(filter(None, error.args))
        raise typer.BadParameter(f"{flag} {text}: {reason}") from None


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
            reason = "; ".join(filter(None, error.args))
            raise typer.BadParameter(f"--in {within}: {reason}") from None
    if not at:
        return None
    try:
        moment = datetime.fromisoformat(at).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"--at {at} is not a time; write 2026-11-23T09:00") from None
    if not now < moment < now + _FARTHEST:
        problem = "is in the past" if moment <= now else "is more than ten years away"
        raise typer.BadParameter(f"--at {at} {problem}; now is {now:%Y-%m-%dT%H:%M:%S%z}")
    return moment


def list_without_command(group: typer.Typer, ls: Callable[..., None]) -> None:
    """Lets `agentd GROUP` without a command do what `agentd GROUP ls` does."""

    @group.callback(invoke_without_command=True)
    def _bare(  # pyright: ignore[reportUnusedFunction]
        context: typer.Context, as_json: Json = False, env: Env = None, nats: Nats = None
    ) -> None:
        if context.invoked_subcommand is None:
            ls(as_json=as_json, env=env, nats=nats)
        elif as_json or env or nats:
            raise typer.BadParameter(f"write the options after `{context.invoked_subcommand}`")


def run(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Runs a command and exits with the code that it returns.

    Ctrl-C is no error: it exits with 130, the shell's code for SIGINT, without a traceback.
    """
    import asyncio

    try:
        code = asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(code)
