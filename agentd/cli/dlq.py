"""`agentd dlq`: lists dead letters, shows one, sends them again, drops them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import say, say_json, say_left_out, table
from agentd.cli.shared.visit import Work, visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.queue.dead_letters import Action, DeadLetter

dlq = typer.Typer(name="dlq", help="List, show, resend or drop dead letters.")

_NAMES = "Numbers of dead letters, or ids of their tasks (the beginning is enough)."
Names = Annotated[list[str] | None, typer.Argument(help=_NAMES)]
All = Annotated[bool, typer.Option("--all", help="All dead letters of the environment.")]


@dlq.command()
def ls(as_json: options.Json = False, env: options.Env = None, nats: options.Nats = None) -> None:
    """List the dead letters with their reasons."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.nats.records import shortlist
        from agentd.queue.dead_letters import listed

        newest, total = await shortlist(
            listed(bus, subjects), lambda each: -each.sequence, lambda each: len(each.data)
        )
        letters = newest[::-1]
        say_left_out(total - len(letters), "older dead letters")
        if as_json:
            say_json([_as_json(each) for each in letters], indent=2)
        elif letters:
            _table(letters)
        else:
            say(f"no dead letters in {subjects.env!r}")
        return 0

    options.run(visit(work, env, nats))


options.list_without_command(dlq, ls)


@dlq.command()
def show(
    name: Annotated[str, typer.Argument(help="Its number, or the id of its task.")],
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Show one dead letter with its original message."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.queue.dead_letters import find, original

        letter = await find(bus, subjects, name)
        letter = replace(letter, data=await original(bus, letter))
        if as_json:
            say_json(_as_json(letter), indent=2)
            return 0
        for field, value in _as_json(letter).items():
            say(f"{field:<10} {value}")
        return 0

    options.run(visit(work, env, nats))


@dlq.command()
def retry(
    names: Names = None,
    every: All = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Send dead letters again, unchanged.

    Each task still gets one result.
    """
    from agentd.queue.dead_letters import send_again

    options.run(visit(_each(send_again, "sent again", names, every), env, nats))


@dlq.command()
def drop(
    names: Names = None,
    every: All = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Delete dead letters permanently."""
    from agentd.queue.dead_letters import drop as drop_letter

    options.run(visit(_each(drop_letter, "dropped", names, every), env, nats))


def _each(action: Action, done: str, names: list[str] | None, every: bool) -> Work:
    """Runs `action` on the dead letters that the command names; prints that they are `done`."""
    if bool(names) == every:
        raise typer.BadParameter("give the numbers of dead letters, or --all")

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.errors import NotStored, TaskError, TooLarge, UsageError
        from agentd.protocol.actor import person
        from agentd.protocol.message import short_id

        refused = number = 0
        async for letter in _named(bus, subjects, names):
            number += 1
            named = f"letter {letter.sequence} (task {short_id(letter.task_id)})"
            try:
                await action(bus, subjects, letter, by=person())
            except (UsageError, TaskError, NotStored, TooLarge) as error:
                refused += 1
                say(f"{named} not {done}: {error}", err=True)
            else:
                say(f"{named} {done}")
        if refused and number > 1:
            say(f"{refused} of {number} dead letters were not {done}", err=True)
        return 1 if refused else 0

    return work


async def _named(
    bus: Bus, subjects: Subjects, names: list[str] | None
) -> AsyncGenerator[DeadLetter]:
    """The dead letters of these names; without names, all that there are now."""
    from agentd.queue.dead_letters import find, listed, newest

    if names:
        # All are looked up before the first is worked on: a mistake in a name does nothing.
        for letter in [await find(bus, subjects, name) for name in names]:
            yield letter
        return
    # A letter that is sent again may soon be a dead letter anew, with a higher number.
    last = await newest(bus, subjects)
    async for letter in listed(bus, subjects):
        if letter.sequence <= last:
            yield letter


def _table(letters: list[DeadLetter]) -> None:
    from agentd.protocol.message import short_id

    rows = table(
        "LETTER", "TASK", "TIME", "REASON", "ATTEMPTS", "SENT TO", "LAST ERROR",
        below=("SENT TO", "LAST ERROR"),
    )  # fmt: skip
    for each in letters:
        to = f"{each.subject.domain}.{each.subject.specificity}"
        number, attempts = str(each.sequence), str(each.attempts)
        task, at, error = short_id(each.task_id), _time(each.at), each.error[:120]
        rows.add_row(number, task, at, each.reason, attempts, to, error)
    rows.show()


def _time(at: str) -> str:
    """The time in a dead letter, which any program may have written."""
    try:
        return clock(datetime.fromisoformat(at).timestamp())
    except (ValueError, OverflowError):
        return at[:19]


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "letter": letter.sequence,
        "buried": letter.at,
        "task": letter.task_id,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "subject": letter.published_to,
        "headers": dict(letter.headers),
        "message": letter.data.decode(errors="replace"),
    }
