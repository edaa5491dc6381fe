"""`agentd stop`: ends a conversation, or a task with all that followed, in every process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli.shared import options

if TYPE_CHECKING:
    from agentd.queue.cancellations import Scope


def stop(
    conversation: Annotated[
        str | None, typer.Option("--conversation", "-c", help="The conversation's id.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="A task's id: with all work that followed from it.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let it go on again.")] = False,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Stop a conversation or a task everywhere.

    What runs is cancelled; what waits, or comes later, is refused.
    """
    from agentd.queue.cancellations import Scope

    if (conversation is None) == (task is None):
        raise typer.BadParameter("name either a --conversation or a --task")
    scope = Scope("task", task) if task else Scope("conversation", conversation or "")
    options.run(_stop(scope, undo, as_json, env, nats))


async def _stop(scope: Scope, undo: bool, as_json: bool, env: str | None, nats: str | None) -> int:
    from agentd.nats.session import visit
    from agentd.protocol.subjects import Subjects
    from agentd.queue import cancellations
    from agentd.runtime.cancellation import cancel
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    subjects, buried = Subjects(settings.env), 0
    async with visit(settings) as bus:
        if undo:
            await cancellations.undo(bus, subjects, scope)
        else:
            buried = await cancel(bus, subjects, scope)
    if as_json:
        told = {"env": settings.env, "stopped": not undo, "waiting_tasks_ended": buried}
        print(json.dumps({scope.kind: scope.id, **told}))
    elif undo:
        print(f"{scope.kind} {scope.id} may go on; what was ended is in `agentd dlq ls`")
    else:
        ended = f"; {buried} waiting tasks were ended" if buried else ""
        print(f"{scope.kind} {scope.id} is stopped{ended}; let it go on with --undo")
    return 0
