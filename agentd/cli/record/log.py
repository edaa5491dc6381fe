"""`agentd log`: lists the messages on record that fit, and follows new ones."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.record.indexed import indexed
from agentd.cli.record.past import Since, Until, moment
from agentd.cli.shared import options
from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import Styled, say, say_json

if TYPE_CHECKING:
    from agentd.nats.bus import Bus, Msg
    from agentd.protocol.subjects import Subjects
    from agentd.record.index.index import Index
    from agentd.record.index.rows import Row
    from agentd.record.queries import Filter

_LONGEST = 120  # characters of a text
_MOST = 20_000  # messages; all of them are in memory
_EVERY = 2.0  # seconds between two looks where the server does not announce a message
_PAUSE = 0.1  # seconds in which more messages may come, to be read together


Agent = Annotated[
    str | None, typer.Option("--agent", "-a", help="Messages that it sent, or that are for it.")
]
Conversation = Annotated[
    str | None,
    typer.Option("--conversation", "-c", help="The id of a conversation, or its beginning."),
]
Failed = Annotated[
    bool, typer.Option("--failed", help="Failed tasks and tool calls, and dead letters.")
]
Grep = Annotated[
    str | None,
    typer.Option("--grep", "-g", metavar="TEXT", help="Words that stand in it, in this order."),
]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Show new messages too, until Ctrl-C.")
]
Count = Annotated[
    int, typer.Option("--count", "-n", min=1, max=_MOST, help="The newest so many messages.")
]


def log(
    since: Since = None,
    until: Until = None,
    agent: Agent = None,
    conversation: Conversation = None,
    failed: Failed = False,
    grep: Grep = None,
    follow: Follow = False,
    count: Count = 100,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """List messages of the log, oldest first: tasks, results, events, dead letters."""
    now = time.time()
    first, last = moment("--since", since, now), moment("--until", until, now)
    if follow and last is not None:
        raise typer.BadParameter("give --follow or --until, not both")

    async def work(bus: Bus, subjects: Subjects, index: Index) -> int:
        from agentd.record.queries import Filter

        _require_word(grep)
        where = Filter(
            env=subjects.env,
            since=first,
            until=last,
            agent=agent,
            conversation=conversation and await _conversation(index, subjects.env, conversation),
            failed=failed,
            text=grep,
        )
        await _show(bus, subjects, index, where, count, follow=follow, as_json=as_json)
        return 0

    options.run(indexed(work, env, nats))


def _require_word(text: str | None) -> None:
    from agentd.errors import UsageError
    from agentd.record.index.texts import phrase

    if text is not None and not phrase(text):
        raise UsageError(f"--grep {text!r} has no word to search for")


async def _show(
    bus: Bus,
    subjects: Subjects,
    index: Index,
    where: Filter,
    count: int,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Prints what fits, and with `follow` also what is stored later."""
    news = asyncio.Event()

    async def ring(_: Msg) -> None:
        news.set()

    if follow:
        await bus.subscribe(subjects.stored(">"), ring)
        await bus.fence()
    read = await _page(index, where, count, as_json=as_json)
    while follow:
        await _until_news(news)
        later = replace(where, since=None, after=read)
        read = await _page(index, later, _MOST, as_json=as_json)


async def _page(index: Index, where: Filter, count: int, *, as_json: bool) -> int:
    """Prints the newest messages that fit; returns up to which sequence the log was read."""
    from agentd.record import queries

    # One more than is shown tells whether there are more.
    rows, read = await index.ask(
        lambda db: (queries.messages(db, where, limit=count + 1), queries.newest(db))
    )
    for row in rows[-count:]:
        if as_json:
            say_json(_as_json(row))
        else:
            say(*_line(row))
    if len(rows) > count:
        say(f"the newest {count:,} messages that fit are shown; see -n", err=True)
    elif not rows and not as_json and where.after is None:
        say(f"no message on record fits in {where.env!r}", err=True)
    return read


async def _until_news(news: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_EVERY):
            await news.wait()
    except TimeoutError:
        return
    await asyncio.sleep(_PAUSE)
    news.clear()


async def _conversation(index: Index, env: str, name: str) -> str:
    """The id of the conversation whose id begins with `name`.

    Raises:
        UsageError: there is none, or there are several.
    """
    from agentd.errors import UsageError
    from agentd.record import queries

    found = await index.ask(lambda db: queries.beginning(db, env, "conversation", name))
    if not found:
        raise UsageError(f"no conversation on record begins with {name!r} in {env!r}")
    if len(found) > 1:
        some = ", ".join(each[:64] for each in found[:3])
        raise UsageError(f"several conversations begin with {name!r}: {some}, …")
    return found[0]


def _line(row: Row) -> list[str | Styled]:
    """The time, the task or else its own id, what it is, who sent it and what it says."""
    from agentd.protocol.message import short_id

    text = " ".join(row.text.split())
    if row.success is False:
        text = f"{row.code}: {text}" if row.code else text
    shown = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    head = (
        f"{clock(row.time)}  {short_id(row.task or row.id):<8}  {_what(row):<26} {row.source:<12} "
    )
    return [head, Styled(shown, "red") if row.success is False else shown]


def _what(row: Row) -> str:
    """What a message is: the name of an entry of a journal, or its type and its topic."""
    if row.name and row.kind == "event":
        return f"{row.name} {row.tool}".rstrip()
    return f"{row.kind}.{row.topic}"


def _as_json(row: Row) -> dict[str, Any]:
    fields = row._asdict()
    del fields["erased"]
    at = datetime.fromtimestamp(row.time, UTC)
    return {**fields, "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
