"""`agentd dlq`: lists dead letters, shows one, sends them again, drops them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_json, table
from agentd.cli.shared.visit import Work, visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.queue.dead_letters import DeadLetter

dlq = typer.Typer(name="dlq", help="List, show, resend or drop dead letters.", no_args_is_help=True)

Numbers = Annotated[
    list[int] | None, typer.Argument(help="Numbers of dead letters, as `agentd dlq ls` shows them.")
]
All = Annotated[bool, typer.Option("--all", help="All dead letters of the environment.")]


@dlq.command()
def ls(as_json: options.Json = False, env: options.Env = None, nats: options.Nats = None) -> None:
    """List the dead letters with their reasons."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.queue.dead_letters import listed

        letters = [each async for each in listed(bus, subjects)]
        if as_json:
            say_json([_as_json(each) for each in letters], indent=2)
        elif letters:
            _table(letters)
        else:
            say(f"no dead letters in {subjects.env!r}")
        return 0

    options.run(visit(work, env, nats))


@dlq.command()
def show(
    number: Annotated[int, typer.Argument(help="The number of the dead letter.")],
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Show one dead letter with its original message."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.queue.dead_letters import find

        letter = await find(bus, subjects, number)
        if as_json:
            say_json(_as_json(letter), indent=2)
            return 0
        for name, value in _as_json(letter).items():
            say(f"{name:<10} {value}")
        return 0

    options.run(visit(work, env, nats))


@dlq.command()
def retry(
    numbers: Numbers = None,
    every: All = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Send dead letters again, unchanged.

    Each task still gets one result.
    """
    from agentd.queue.dead_letters import send_again

    options.run(visit(_each(send_again, "sent again", numbers, every), env, nats))


@dlq.command()
def drop(
    numbers: Numbers = None,
    every: All = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Delete dead letters permanently."""
    from agentd.queue.dead_letters import drop as drop_letter

    options.run(visit(_each(drop_letter, "dropped", numbers, every), env, nats))


Action = Callable[["Bus", "Subjects", "DeadLetter"], Awaitable[None]]


def _each(action: Action, done: str, numbers: list[int] | None, every: bool) -> Work:
    """Runs `action` on the dead letters that the command names; prints that they are `done`."""
    if bool(numbers) == every:
        raise typer.BadParameter("give the numbers of dead letters, or --all")

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.queue.dead_letters import find, listed

        # All are read before the first is sent again: that one may soon be a dead letter anew.
        if every:
            letters = [each async for each in listed(bus, subjects)]
        else:
            letters = [await find(bus, subjects, number) for number in numbers or ()]
        for letter in letters:
            await action(bus, subjects, letter)
            say(f"letter {letter.sequence} (task {letter.task_id}) {done}")
        return 0

    return work


def _table(letters: list[DeadLetter]) -> None:
    rows = table("LETTER", "TIME", "REASON", "ATTEMPTS", "SENT TO", "TASK", "LAST ERROR")
    for each in letters:
        to = f"{each.subject.domain}.{each.subject.specificity}"
        at = each.at[:19].replace("T", " ")
        number, attempts = str(each.sequence), str(each.attempts)
        rows.add_row(number, at, each.reason, attempts, to, each.task_id, each.error[:120])
    rows.show()


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
