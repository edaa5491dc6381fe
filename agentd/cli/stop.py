"""`agentd stop`: cancels a conversation, or a task and all that followed from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_json
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects


def stop(
    conversation: Annotated[
        str | None, typer.Option("--conversation", "-c", help="The id of a conversation.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="The id of a task; what followed from it ends too."),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Undo a cancellation: new work runs again.")
    ] = False,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Cancel a conversation or a task in every process.

    Running tasks are cancelled; waiting and later ones are refused.
    """
    from agentd.queue.cancellations import Scope

    if (conversation is None) == (task is None):
        raise typer.BadParameter("give either --conversation or --task")
    scope = Scope("task", task) if task else Scope("conversation", conversation or "")

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.queue import cancellations
        from agentd.runtime.cancellation import cancel

        ended = 0
        if undo:
            await cancellations.undo(bus, subjects, scope)
        else:
            ended = await cancel(bus, subjects, scope)
        if as_json:
            report = {"env": subjects.env, "stopped": not undo, "waiting_tasks_ended": ended}
            say_json({scope.kind: scope.id, **report})
        elif undo:
            say(f"{scope.kind} {scope.id} may run again; what was cancelled is in `agentd dlq ls`")
        else:
            also = f"; {ended} waiting tasks were ended" if ended else ""
            say(f"{scope.kind} {scope.id} is cancelled{also}; to undo this use --undo")
        return 0

    options.run(visit(work, env, nats))
