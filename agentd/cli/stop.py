"""`agentd stop`: ends a conversation in every process, until it is undone."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agentd.cli import options


def stop(
    conversation: Annotated[
        str, typer.Option("--conversation", "-c", help="The conversation's id.", show_default=False)
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Let it go on again.")] = False,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Stop a conversation: what runs is cancelled, what waits or comes later is refused."""
    options.run(_stop(conversation, undo, as_json, env, nats))


async def _stop(
    conversation: str, undo: bool, as_json: bool, env: str | None, nats: str | None
) -> int:
    from agentd import stops
    from agentd.session import visit
    from agentd.settings import from_environment
    from agentd.subjects import Subjects

    settings = from_environment(env=env, nats=nats)
    async with visit(settings) as bus:
        change = stops.resume if undo else stops.stop
        await change(bus, Subjects(settings.env), conversation)
    if as_json:
        print(json.dumps({"conversation": conversation, "env": settings.env, "stopped": not undo}))
    elif undo:
        print(f"conversation {conversation} may go on; what was ended is in `agentd dlq ls`")
    else:
        print(f"conversation {conversation} is stopped; let it go on with --undo")
    return 0
