"""`agentd forget`: erases the contents of a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli.record.indexed import indexed
from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_json

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.record.forget import Forgotten
    from agentd.record.index.index import Index


def forget(
    conversation: Annotated[
        str, typer.Argument(help="The whole id of the conversation, as `agentd trace` shows it.")
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="Also if tasks have no result yet; they never get one."),
    ] = False,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Erase the contents of a conversation permanently: from the log, the objects, the index and
    the memory.

    What stays says when, and by whom, how many messages were erased. The audit still verifies.
    """

    async def work(bus: Bus, subjects: Subjects, index: Index) -> int:
        from dataclasses import asdict

        from agentd.protocol.actor import person
        from agentd.record.forget import forget as erase

        by = person().as_json()
        done = await erase(bus, subjects, index, conversation, by=by, force=force)
        if as_json:
            say_json({"conversation": conversation, **asdict(done)})
        else:
            say(f"{conversation} is forgotten: {_in_words(done)}")
        return 0

    options.run(indexed(work, env, nats))


def _in_words(done: Forgotten) -> str:
    parts = [f"{done.messages:,} messages of the log erased"]
    if done.copies:
        parts.append(f"{done.copies:,} waiting copies of tasks erased")
    if done.objects:
        parts.append(f"{done.objects:,} objects erased")
    if done.shared:
        parts.append(f"{done.shared:,} objects kept that other conversations refer to")
    return ", ".join(parts)
