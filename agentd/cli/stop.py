"""`agentd stop`: cancels a conversation, or a task and all that followed from it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentd.cli.shared import options
from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import say, say_json, table
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.cli.shared.visit import Work
    from agentd.nats.bus import Bus
    from agentd.protocol.message import AgentMessage
    from agentd.protocol.subjects import Subjects
    from agentd.queue.cancellations import Scope
    from agentd.runtime.open_tasks import State

Kind = Literal["conversation", "task"]

_SHOWN = 5  # ids that an error lists


def stop(
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", "-c", help="The id of a conversation, or its beginning."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task", help="The id of a task, or its beginning; what followed from it ends too."
        ),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Undo a cancellation: new work runs again.")
    ] = False,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Cancel a conversation or a task in every process; without either, list what is cancelled.

    Running, waiting and suspended tasks end; later ones are refused.
    """
    if conversation is not None and task is not None:
        raise typer.BadParameter("give either --conversation or --task")
    given = task if conversation is None else conversation
    if given is None:
        if undo:
            raise typer.BadParameter("--undo needs --conversation or --task")
        work = list_cancelled(as_json)
    elif not given:
        raise typer.BadParameter("an id must not be empty")
    else:
        kind: Kind = "task" if conversation is None else "conversation"
        work = undo_cancelled(kind, given, as_json) if undo else cancel_open(kind, given, as_json)
    options.run(visit(work, env, nats))


def list_cancelled(as_json: bool) -> Work:
    """Prints what is cancelled."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.protocol.message import short_id
        from agentd.queue.cancellations import listed

        found = [
            (each.scope, datetime.fromtimestamp(each.since).astimezone(), each.by)
            for each in await listed(bus, subjects)
        ]
        if as_json:
            say_json(
                [
                    {scope.kind: scope.id, "since": since.isoformat(), "by": by or None}
                    for scope, since, by in found
                ]
            )
            return 0
        if not found:
            say(f"nothing is cancelled in environment {subjects.env}")
            return 0
        rows = table("CANCELLED", "ID", "SINCE", "BY")
        for scope, since, by in found:
            rows.add_row(scope.kind, short_id(scope.id), clock(since.timestamp()), by)
        rows.show()
        return 0

    return work


def undo_cancelled(kind: Kind, given: str, as_json: bool) -> Work:
    """Undoes the one cancellation whose id begins with `given`."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.errors import UsageError
        from agentd.protocol.actor import person
        from agentd.queue import cancellations

        known = [each.scope for each in await cancellations.listed(bus, subjects)]
        name = _resolve(kind, given, {scope.id for scope in known if scope.kind == kind})
        if name is None:
            why = f"no cancelled {kind} has an id that begins with {given}"
            raise UsageError(f"{why}; see: agentd stop")
        await cancellations.undo(bus, subjects, cancellations.Scope(kind, name), by=person())
        if as_json:
            say_json({kind: name, "env": subjects.env, "stopped": False})
        else:
            say(f"{kind} {name} may run again; what was cancelled is in `agentd dlq ls`")
        return 0

    return work


def cancel_open(kind: Kind, given: str, as_json: bool) -> Work:
    """Cancels the one conversation or task whose id begins with `given`."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.protocol.actor import person
        from agentd.runtime.cancellation import cancel, in_words
        from agentd.runtime.open_tasks import open_tasks

        # Only ids: an environment may have any number of open tasks.
        meant: dict[str, dict[str, State]] = {}
        async for each in open_tasks(bus, subjects):
            for name in _names(kind, each.message):
                if name.startswith(given):
                    meant.setdefault(name, {})[each.message.id] = each.state
        scope = await _scope(bus, subjects, kind, given, meant.keys())
        ended = await cancel(bus, subjects, scope, meant.get(scope.id, {}), by=person())
        if as_json:
            report = {"env": subjects.env, "stopped": True, "ended": dict(ended)}
            say_json({kind: scope.id, **report})
            return 0
        what = f"its tasks end: {words}" if (words := in_words(ended)) else "no task of it was open"
        say(f"{kind} {scope.id} is cancelled; {what}; to undo this use --undo")
        return 0

    return work


async def _scope(
    bus: Bus, subjects: Subjects, kind: Kind, given: str, ids: Collection[str]
) -> Scope:
    """What is to be cancelled: the one whose id begins with `given`.

    Raises:
        UsageError: there is none, and the text says why; or there are several.
    """
    from agentd.errors import UsageError
    from agentd.queue.cancellations import Scope

    if name := _resolve(kind, given, ids):
        return Scope(kind, name)
    over = await _how_it_ended(bus, subjects, given)
    if kind == "task" and over:
        raise UsageError(f"task {given} is over: {over}; nothing that followed from it is open")
    if kind == "conversation" and (over or await _is_remembered(bus, subjects, given)):
        return Scope(kind, given)  # it may go on later
    raise UsageError(f"no open {kind} has an id that begins with {given}")


def _names(kind: Kind, message: AgentMessage) -> set[str]:
    """The ids by which a task may be meant: of its conversation, or of it and what it followed
    from."""
    if kind == "conversation":
        return {message.context.conversation_id}
    return {name for name in (message.id, message.correlation_id) if name}


def _resolve(kind: Kind, given: str, ids: Collection[str]) -> str | None:
    """The id that is `given`, or the only one that begins with it.

    Raises:
        UsageError: several begin with it.
    """
    from agentd.errors import UsageError

    if given in ids:
        return given
    found = sorted(name for name in ids if name.startswith(given))
    if len(found) > 1:
        some = ", ".join(found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "")
        raise UsageError(f"{len(found)} {kind}s have an id that begins with {given}: {some}")
    return found[0] if found else None


async def _how_it_ended(bus: Bus, subjects: Subjects, task: str) -> str:
    """How a task ended, in words; "" if no result of it is on record."""
    from agentd.errors import SubjectError
    from agentd.routing import results

    try:
        found = await results.find(bus, subjects, task)
    except SubjectError:
        return ""
    if found is None:
        return ""
    return "it was answered" if found.payload.content["success"] else "it failed"


async def _is_remembered(bus: Bus, subjects: Subjects, conversation: str) -> bool:
    """Whether an answer of the conversation is on record."""
    from agentd.nats import jetstream
    from agentd.nats.streams import LOG
    from agentd.protocol.subjects import digest

    subject = subjects.event("conversation", digest(conversation))
    return await jetstream.last(bus, LOG, subject) is not None
