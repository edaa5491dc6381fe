"""`agentd dlq`: the dead letters, to be looked at, sent again or dropped."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.queue.dead_letters import DeadLetter

dlq = typer.Typer(
    name="dlq", help="Look at dead letters, send them again, drop them.", no_args_is_help=True
)

Number = Annotated[
    list[int] | None, typer.Argument(help="The letters' numbers, as `agentd dlq ls` shows them.")
]
All = Annotated[bool, typer.Option("--all", help="All letters of the environment.")]


@dlq.command()
def ls(as_json: options.Json = False, env: options.Env = None, nats: options.Nats = None) -> None:
    """List what could not be done, and why."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.queue.dead_letters import listed

        letters = [each async for each in listed(bus, subjects)]
        if as_json:
            print(json.dumps([_as_json(each) for each in letters], indent=2))
        elif letters:
            _table(letters)
        else:
            print(f"no dead letters in {subjects.env!r}")
        return 0

    options.run(_visit(work, env, nats))


@dlq.command()
def show(
    number: Annotated[int, typer.Argument(help="The letter's number.")],
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Show one letter with its original message."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.queue.dead_letters import find

        letter = await find(bus, subjects, number)
        if as_json:
            print(json.dumps(_as_json(letter), indent=2))
            return 0
        for name, value in _as_json(letter).items():
            print(f"{name:<10} {value}")
        return 0

    options.run(_visit(work, env, nats))


@dlq.command()
def retry(
    numbers: Number = None,
    every: All = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Send letters again, as they were; each task gets one result."""
    from agentd.queue.dead_letters import send_again

    options.run(_visit(_each(send_again, "sent again", numbers, every), env, nats))


@dlq.command()
def drop(
    numbers: Number = None,
    every: All = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Remove letters for good."""
    from agentd.queue.dead_letters import drop as drop_letter

    options.run(_visit(_each(drop_letter, "dropped", numbers, every), env, nats))


Work = Callable[["Bus", "Subjects"], Awaitable[int]]
Deed = Callable[["Bus", "Subjects", "DeadLetter"], Awaitable[None]]


def _each(deed: Deed, done: str, numbers: list[int] | None, every: bool) -> Work:
    """Does `deed` to the letters that the command names."""
    if bool(numbers) == every:
        raise typer.BadParameter("name letters by their numbers, or say --all")

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.queue.dead_letters import find, listed

        if every:
            letters = [each async for each in listed(bus, subjects)]
        else:
            letters = [await find(bus, subjects, number) for number in numbers or ()]
        for letter in letters:
            await deed(bus, subjects, letter)
            print(f"letter {letter.sequence} (task {letter.task_id}) {done}")
        return 0

    return work


async def _visit(work: Work, env: str | None, nats: str | None) -> int:
    from agentd.nats.session import visit
    from agentd.protocol.subjects import Subjects
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    async with visit(settings) as bus:
        return await work(bus, Subjects(settings.env))


def _table(letters: list[DeadLetter]) -> None:
    from agentd.cli.shared.console import table

    rows = table("LETTER", "BURIED", "REASON", "ATTEMPTS", "SENT TO", "TASK", "LAST ERROR")
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
        "subject": str(letter.subject),
        "headers": dict(letter.headers),
        "message": letter.data.decode(errors="replace"),
    }
