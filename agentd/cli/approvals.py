"""`agentd approvals`: lists the tool calls that wait for approval; approves or denies them."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import say, say_json, table
from agentd.cli.shared.visit import Work, visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.queue.decisions import ApprovalRequest

approvals = typer.Typer(name="approvals", help="List, approve or deny tool calls that wait.")

Task = Annotated[str, typer.Argument(help="The task's id, or the beginning of it.")]
Numbers = Annotated[
    list[int] | None,
    typer.Option("--call", metavar="<int>", help="Decide only on this call; repeatable."),
]
By = Annotated[str | None, typer.Option("--by", help="Who decides [your login name].")]
Reason = Annotated[str, typer.Option("--reason", help="The reason; the model sees it if denied.")]


@approvals.command()
def ls(as_json: options.Json = False, env: options.Env = None, nats: options.Nats = None) -> None:
    """List the calls that wait for approval."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.protocol.message import short_id
        from agentd.queue.approvals import waiting

        requests = await waiting(bus, subjects)
        if as_json:
            say_json([_as_json(each) for each in requests], indent=2)
            return 0
        if not requests:
            say(f"no tool call waits for approval in {subjects.env!r}")
            return 0
        rows = table("TASK", "AGENT", "CALL", "TOOL", "EXPIRES", "ARGUMENTS", below=("ARGUMENTS",))
        for request in requests:
            for call in request.calls:
                arguments = json.dumps(call["arguments"], ensure_ascii=False)
                task, expires = short_id(request.task), clock(request.expires)
                number, name = str(call["index"]), call["name"]
                rows.add_row(task, request.agent, number, name, expires, arguments)
        rows.show()
        return 0

    options.run(visit(work, env, nats))


options.list_without_command(approvals, ls)


@approvals.command()
def approve(
    task: Task,
    calls: Numbers = None,
    by: By = None,
    reason: Reason = "",
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Approve the tool calls of a task.

    They run with exactly the arguments that `ls` shows.
    """
    options.run(visit(_decide(task, True, calls, by, reason), env, nats))


@approvals.command()
def deny(
    task: Task,
    calls: Numbers = None,
    by: By = None,
    reason: Reason = "",
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Deny the tool calls of a task.

    The task resumes without them, and the model gets the reason.
    """
    options.run(visit(_decide(task, False, calls, by, reason), env, nats))


def _decide(
    task: str, approve: bool, calls: Sequence[int] | None, by: str | None, reason: str
) -> Work:
    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.errors import UsageError
        from agentd.protocol.message import short_id
        from agentd.queue.approvals import decide

        request = await _find(bus, subjects, task)
        shown = short_id(request.task)
        if unknown := set(calls or ()) - request.indexes:
            known = ", ".join(map(str, sorted(request.indexes)))
            raise UsageError(f"task {shown} has no call {min(unknown)}; it has {known}")
        dialogue = await decide(
            bus,
            subjects,
            request,
            approve=approve,
            calls=calls or None,
            by=by or getpass.getuser(),
            reason=reason,
        )
        # The first decision on a call counts. Another person may have been faster.
        verdicts = dialogue.verdicts(request)
        for call in request.calls:
            if calls and call["index"] not in calls:
                continue
            decision = verdicts[call["index"]]
            verdict = "approved" if decision.approve else "denied"
            earlier = "" if decision.approve == approve else f" already, by {decision.by}"
            name = f"call {call['index']} ({call['name']}) of task {shown}"
            say(f"{name} is {verdict}{earlier}")
        undecided = len(request.indexes - verdicts.keys())
        if undecided:
            say(f"the task waits for {undecided} more decision{'' if undecided == 1 else 's'}")
        return 0

    return work


async def _find(bus: Bus, subjects: Subjects, task: str) -> ApprovalRequest:
    """The open request of the task whose id begins with `task`.

    Raises:
        UsageError: there is none, and the text says why; or there are several.
    """
    from agentd.errors import SubjectError, UsageError
    from agentd.queue.approvals import waiting
    from agentd.queue.decisions import read

    every = await waiting(bus, subjects)
    found = [each for each in every if each.task == task] or [
        each for each in every if each.task.startswith(task)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{len(found)} suspended tasks have an id that begins with {task}")
    try:
        dialogue = await read(bus, subjects, task)
    except SubjectError as error:
        raise UsageError(str(error)) from None
    if not dialogue.requests:
        raise UsageError(f"no task {task} waits for approval; see: agentd approvals ls")
    last = dialogue.requests[-1]
    if not dialogue.is_decided(last):
        raise UsageError(f"the request of task {task} expired at {clock(last.expires)}")
    by = {decision.by for decision in dialogue.verdicts(last).values()} - {""}
    raise UsageError(f"task {task} is already decided{', by ' + ', '.join(by) if by else ''}")


def _as_json(request: ApprovalRequest) -> dict[str, Any]:
    return {
        "task": request.task,
        "agent": request.agent,
        "turn": request.turn,
        "calls": list(request.calls),
        "expires": datetime.fromtimestamp(request.expires).astimezone().isoformat(),
    }
