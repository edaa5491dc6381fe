"""`agentd approvals`: lists the tool calls that wait for a person, and decides about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.calls import call_in_words
from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import say, say_json, table
from agentd.cli.shared.visit import Work, visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.queue.decisions import ApprovalRequest

approvals = typer.Typer(
    name="approvals", help="List tool calls that wait for a person; approve, edit, deny, answer."
)

Task = Annotated[str, typer.Argument(help="The task's id, or the beginning of it.")]
Numbers = Annotated[
    list[int] | None,
    typer.Option("--call", metavar="<int>", help="Decide only on this call; repeatable."),
]
By = Annotated[str | None, typer.Option("--by", help="Who decides [your login name and machine].")]
Text = Annotated[str, typer.Argument(help="The answer.")]
Arguments = Annotated[
    str | None,
    typer.Option("--arguments", metavar="<json>", help="Call it with these arguments instead."),
]
Reason = Annotated[str, typer.Option("--reason", help="The reason; the model sees it if denied.")]


@approvals.command()
def ls(as_json: options.Json = False, env: options.Env = None, nats: options.Nats = None) -> None:
    """List the calls and questions that wait for a person."""

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
                arguments = call_in_words(call)
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
    arguments: Arguments = None,
    by: By = None,
    reason: Reason = "",
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Approve the tool calls of a task.

    They run with exactly the arguments that `ls` shows, or one of them with other `--arguments`.
    """
    chosen: dict[str, Any] = {"decision": "approve"}
    if arguments is not None:
        chosen = {"decision": "edit", "arguments": _parsed(arguments)}
    options.run(visit(_decide(task, chosen, calls, by, reason), env, nats))


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
    options.run(visit(_decide(task, {"decision": "deny"}, calls, by, reason), env, nats))


@approvals.command()
def answer(
    task: Task,
    text: Text,
    calls: Numbers = None,
    by: By = None,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Answer the question of a task."""
    chosen = {"decision": "answer", "answer": text}
    options.run(visit(_decide(task, chosen, calls, by, ""), env, nats))


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError as error:
        raise typer.BadParameter(f"--arguments is not JSON: {error}") from None


def _decide(
    task: str,
    chosen: Mapping[str, Any],
    calls: Sequence[int] | None,
    by: str | None,
    reason: str,
) -> Work:
    """Stores a decision, and says what it has become: another person may have been faster."""
    some = {"calls": list(calls)} if calls else {}
    why = {"reason": reason} if reason else {}

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.protocol.actor import person
        from agentd.protocol.message import short_id
        from agentd.queue.approvals import decide

        request = await _find(bus, subjects, task)
        whole = {**chosen, **some, **why}
        dialogue, stored = await decide(bus, subjects, request, whole, by=person(by))
        shown, verdicts = short_id(request.task), dialogue.verdicts(request)
        for call in request.calls:
            decision = verdicts.get(call["index"])
            if decision is None or (calls and call["index"] not in calls):
                continue
            earlier = "" if decision.sequence == stored else f" already, by {decision.by}"
            name = f"call {call['index']} ({call['name']}) of task {shown}"
            say(f"{name} is {decision.verb}{earlier}")
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
        "schemas": request.schemas,
        "expires": datetime.fromtimestamp(request.expires).astimezone().isoformat(),
    }
