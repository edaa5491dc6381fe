"""`agentd result`: prints the result of a task that is on record."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli.record.indexed import indexed
from agentd.cli.shared import options
from agentd.cli.shared.answer import AnswerPrinter
from agentd.cli.shared.status_line import StatusLine

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.message import AgentMessage
    from agentd.protocol.subjects import Subjects
    from agentd.record.index.index import Index

_SHOWN = 5  # ids in an error


def result(
    name: Annotated[str, typer.Argument(metavar="ID", help="The id of a task, or its beginning.")],
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Print the answer of a task, as `agentd ask` does."""

    async def work(bus: Bus, subjects: Subjects, index: Index) -> int:
        task = await index.ask(lambda db: _task(db, subjects.env, name))
        printer = AnswerPrinter(as_json=as_json, status=StatusLine(""))
        printer.take(await _result(bus, subjects, task))
        return 0 if printer.success else 1

    options.run(indexed(work, env, nats))


def _task(db: sqlite3.Connection, env: str, name: str) -> str:
    """The id of the task whose id begins with `name`.

    Raises:
        UsageError: there is none, or there are several.
    """
    from agentd.errors import UsageError
    from agentd.record import queries

    found = queries.beginning(db, env, "task", name)
    if not found:
        raise UsageError(f"no task on record begins with {name!r} in {env!r}; see: agentd log")
    if len(found) > 1:
        some = ", ".join(found[:_SHOWN])
        raise UsageError(f"several tasks begin with {name!r}: {some}, …")
    return found[0]


async def _result(bus: Bus, subjects: Subjects, task: str) -> AgentMessage:
    """The result that the log has, with its whole answer.

    Raises:
        AgentdError: there is none yet, or its answer is no longer in the object store.
    """
    from agentd.errors import AgentdError
    from agentd.nats.objects import whole
    from agentd.routing import results, status

    found = await results.find(bus, subjects, task)
    if found is None:
        known = await status.status(bus, subjects, task)
        state = known.state if known else "not in the queue any more"
        raise AgentdError(f"task {task} has no result: it is {state}; see: agentd trace {task}")
    return await whole(bus, found)
