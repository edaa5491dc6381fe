"""A time in the past, as the flags of several commands give it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

Since = Annotated[
    str | None,
    typer.Option("--since", help="From this time on: 10m, 2h, 1d ago, or 2026-11-23T09:00."),
]
Until = Annotated[str | None, typer.Option("--until", help="Before this time, as for --since.")]


def moment(flag: str, text: str | None, now: float) -> float | None:
    """The time that a flag gives, in seconds since the epoch; None without it."""
    from agentd.manifest.quantities import seconds

    if text is None:
        return None
    try:
        return now - seconds(text)
    except ValueError:
        pass  # a time, and no duration
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        problem = f"{flag} {text} is no time; write 10m, 2h, 1d, or 2026-11-23T09:00"
        raise typer.BadParameter(problem) from None
