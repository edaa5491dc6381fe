"""`agentd torture`: runs the torture suite, and counts what was lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import say

if TYPE_CHECKING:
    from agentd.testing.torture.runner import Order

INTERRUPTED = 130


def torture(
    scenario: Annotated[
        list[str] | None, typer.Argument(help="Names of scenarios, see --list; default: all.")
    ] = None,
    tasks: Annotated[
        int | None, typer.Option("--tasks", min=1, help="The number of tasks per scenario.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Repeat the run with this seed [random].")
    ] = None,
    short: Annotated[
        bool, typer.Option("--short", help="Take only a few minutes, as in CI.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Scenarios at a time; they slow each other down.")
    ] = 1,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="<str>", help="Disable a safeguard, to see which scenario fails."
        ),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the scenarios and exit.")] = False,
    as_json: options.Json = False,
) -> None:
    """Kill, disconnect and overload agents, and count what was lost.

    It starts its own agents and servers; yours are not touched.
    """
    from agentd.testing.torture.runner import Order
    from agentd.testing.torture.scenarios import SCENARIOS
    from agentd.testing.torture.unsafe import SAFEGUARDS

    if listing:
        for each in SCENARIOS:
            say(f"{each.name:<12} {each.goal}")
        return
    _check("scenario", scenario or (), [each.name for each in SCENARIOS])
    _check("safeguard", without or (), list(SAFEGUARDS))
    order = Order(
        scenarios=[each for each in SCENARIOS if not scenario or each.name in scenario],
        seed=random.randrange(2**32) if seed is None else seed,
        tasks=tasks,
        short=short,
        without=tuple(without or ()),
        jobs=jobs,
    )
    options.run(_play(order, as_json))


def _check(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    from agentd.errors import UsageError

    for name in names:
        if name not in known:
            raise UsageError(f"there is no {what} {name!r}; choose from {', '.join(known)}")


async def _play(order: Order, as_json: bool) -> int:
    """Runs the scenarios. Ctrl-C and SIGTERM also end the processes that it started."""
    import asyncio
    import logging
    import signal

    from agentd.testing.torture.runner import play, summary

    logging.disable()  # lost connections are what this is about: the log would be full of them
    if not as_json:
        say(f"seed {order.seed}")
    # asyncio.run handles Ctrl-C; SIGTERM would end this process before it ends its own ones.
    playing = asyncio.create_task(
        play(order, lambda line: None if as_json else say(line, lines=True))
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    try:
        reports = await playing
    except asyncio.CancelledError:
        return INTERRUPTED
    say(summary(order, reports), lines=True)
    return 0 if all(report.passed for report in reports) else 1
