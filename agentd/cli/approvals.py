"""`agentd approvals`: tool calls that wait for a person, and what the person says."""

from __future__ import annotations

import getpass
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.queue.decisions import ApprovalRequest

approvals = typer.Typer(
    name="approvals", help="Look at calls that wait for approval; decide.", no_args_is_help=True
)

Task = Annotated[str, typer.Argument(help="The task's id, or how it begins.")]
Numbers = Annotated[
    list[int] | None,
    typer.Option("--call", metavar="<int>", help="Only this call, by its number; again for more."),
]
By = Annotated[
    str | None, typer.Option("--by", help="Who decides [the name you are logged in as].")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; the model is told of a denial's.")]


@approvals.command()
def ls(as_json: options.Json = False, env: options.Env = None, nats: options.Nats = None) -> None:
    """List the calls that wait for approval."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.cli.shared.console import table
        from agentd.queue.approvals import waiting

        requests = await waiting(bus, subjects)
        if as_json:
            print(json.dumps([_as_json(each) for each in requests], indent=2))
            return 0
        if not requests:
            print(f"nothing waits for approval in {subjects.env!r}")
            return 0
        rows = table("TASK", "AGENT", "CALL", "TOOL", "ARGUMENTS", "EXPIRES")
        for request in requests:
            for call in request.calls:
                arguments = json.dumps(call["arguments"], ensure_ascii=False)
                expires = _time(request.expires)
                number, name = str(call["index"]), call["name"]
                rows.add_row(request.task, request.agent, number, name, arguments, expires)
        rows.show()
        return 0

    options.run(_visit(work, env, nats))


@approvals.command()
def approve(
    task: Task,
    calls: Numbers = None,
    by: By = None,
    reason: Reason = "",
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Let a task make the calls that it waits for.

    They are made exactly as they are listed.
    """
    options.run(_visit(_decide(task, True, calls, by, reason), env, nats))


@approvals.command()
def deny(
    task: Task,
    calls: Numbers = None,
    by: By = None,
    reason: Reason = "",
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Have a task go on without the calls that it waits for."""
    options.run(_visit(_decide(task, False, calls, by, reason), env, nats))


Work = Callable[["Bus", "Subjects"], Awaitable[int]]


def _decide(
    task: str, approve: bool, calls: Sequence[int] | None, by: str | None, reason: str
) -> Work:
    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.errors import UsageError
        from agentd.queue.approvals import decide

        request = await _find(bus, subjects, task)
        if unknown := set(calls or ()) - request.indexes:
            there = ", ".join(map(str, sorted(request.indexes)))
            raise UsageError(f"task {request.task} has no call {min(unknown)}; it has {there}")
        dialogue = await decide(
            bus,
            subjects,
            request,
            approve=approve,
            calls=calls or None,
            by=by or getpass.getuser(),
            reason=reason,
        )
        made = dialogue.verdicts(request)
        for call in request.calls:
            if calls and call["index"] not in calls:
                continue
            decision = made[call["index"]]
            done = "approved" if decision.approve else "denied"
            sooner = "" if decision.approve == approve else f" before, by {decision.by}"
            print(f"call {call['index']} ({call['name']}) of task {request.task} is {done}{sooner}")
        left = len(request.indexes - made.keys())
        if left:
            print(f"the task waits for {left} more")
        return 0

    return work


async def _find(bus: Bus, subjects: Subjects, task: str) -> ApprovalRequest:
    """The waiting request of the task whose id begins so.

    Raises:
        UsageError: there is none, with what became of it; or there are several.
    """
    from agentd.errors import SubjectError, UsageError
    from agentd.queue.approvals import waiting
    from agentd.queue.decisions import read

    found = [each for each in await waiting(bus, subjects) if each.task.startswith(task)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{len(found)} waiting tasks begin with {task}")
    try:
        dialogue = await read(bus, subjects, task)
    except SubjectError as error:
        raise UsageError(str(error)) from None
    if not dialogue.requests:
        raise UsageError(f"no task {task} waits for approval; see: agentd approvals ls")
    last = dialogue.requests[-1]
    if not dialogue.is_decided(last):
        raise UsageError(f"task {task} waits no more: its request expired at {_time(last.expires)}")
    by = {decision.by for decision in dialogue.verdicts(last).values()} - {""}
    raise UsageError(f"task {task} is decided already{', by ' + ', '.join(by) if by else ''}")


async def _visit(work: Work, env: str | None, nats: str | None) -> int:
    from agentd.nats.session import visit
    from agentd.protocol.subjects import Subjects
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    async with visit(settings) as bus:
        return await work(bus, Subjects(settings.env))


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat(sep=" ", timespec="seconds")


def _as_json(request: ApprovalRequest) -> dict[str, Any]:
    return {
        "task": request.task,
        "agent": request.agent,
        "turn": request.turn,
        "calls": list(request.calls),
        "expires": datetime.fromtimestamp(request.expires).astimezone().isoformat(),
    }
