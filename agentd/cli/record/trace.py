"""`agentd trace`: what happened in a task or a conversation, as a tree with bars of time."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from agentd.cli.record.indexed import indexed
from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_json

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.record.index.index import Index
    from agentd.record.trace.node import Node

_PIPED = 100  # columns where the output is no terminal


def trace(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The id of a task, a conversation or any message, its beginning, or a number in "
            "the log.",
        ),
    ],
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Show what each model was sent.")
    ] = False,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Show what happened in a task or a conversation: who did what, when, and what it cost.

    Of a task, everything from the task that it began with.
    """

    async def work(bus: Bus, subjects: Subjects, index: Index) -> int:
        from agentd.record.trace.reader import trace as read

        found = await read(index, bus, subjects.env, name)
        if as_json:
            shown = found.tree.as_json(prompts=prompts)
            say_json({**shown, "missing": found.missing}, indent=2)
        else:
            _show(found.tree, found.asked, prompts=prompts)
        if found.missing:
            say(f"{found.missing:,} records of it are no longer in the log", err=True)
        return 0

    options.run(indexed(work, env, nats))


def _show(tree: Node, asked: str, *, prompts: bool) -> None:
    from agentd.cli.record.picture import drawn

    columns = shutil.get_terminal_size((_PIPED, 24)).columns if sys.stdout.isatty() else _PIPED
    under = _sent if prompts else _nothing
    for line in drawn(tree, width=columns, asked=asked, under=under):
        say(*line)


def _nothing(node: Node) -> Iterator[str]:
    del node
    return iter(())


def _sent(node: Node) -> Iterator[str]:
    """What the model was sent in a turn: the lines of each message behind its role."""
    for message in node.details.get("messages", ()):
        said = [message.get("content"), message.get("tool_calls")]
        text = "\n".join(
            each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
            for each in said
            if each
        )
        first, *rest = text.splitlines() or [""]
        yield f"{message.get('role')}: {first}"
        yield from (f"  {line}" for line in rest)
