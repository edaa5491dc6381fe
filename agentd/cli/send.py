"""`agentd send`: sends a message from a file or standard input."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.submit import submit
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.protocol.message import AgentMessage
    from agentd.run.attachments import Attachment


def send(
    target: Annotated[str, typer.Argument(help="A capability, domain.specificity, or @agent.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A message as JSON, or a line of `tap --json`; default or -: standard input."
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Run it again, under a new id."),
    ] = False,
    files: options.Files = None,
    as_json: options.Json = False,
    at: options.At = None,
    within: options.Within = None,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Send a task or an event from a file or standard input."""
    due = options.due(at, within)
    attached = options.attachments(files)
    message = _with_files(_message(options.read(file)), attached)
    if again:
        message = afresh(message)
    work = submit(target, message, due=due, files=attached, as_json=as_json)
    options.run(visit(work, env, nats))


def _message(data: bytes) -> AgentMessage:
    from agentd.errors import DecodeError, UsageError
    from agentd.protocol.message import decode

    try:
        data, kind = _of_tap(data)
        message = decode(data, type=kind)
    except DecodeError as error:
        raise UsageError(f"not a valid message: {error}") from None
    if message.type not in ("task", "event"):
        raise UsageError(f"a {message.type} cannot be sent; send a task or an event")
    return message


def _of_tap(data: bytes) -> tuple[bytes, Any]:
    """The message in a line of `agentd tap --json`, and its type; other data as it is, and None.

    Raises:
        DecodeError: as `decode`.
    """
    from agentd.protocol.strict_json import parse

    match parse(data):
        case {"subject": str(subject), "message": {**fields}}:
            return json.dumps(fields).encode(), "".join(subject.split(".")[2:3])
        case _:
            return data, None


def afresh(message: AgentMessage) -> AgentMessage:
    """The same message as a new one. A task that is its own conversation begins a new one."""
    from agentd.protocol.message import new_id

    fresh, context = new_id(), message.context
    if context.conversation_id == message.id:
        context = context.model_copy(update={"conversation_id": fresh})
    return message.model_copy(update={"id": fresh, "timestamp": time.time(), "context": context})


def _with_files(message: AgentMessage, files: Sequence[Attachment]) -> AgentMessage:
    """The message with the files as parts of its content."""
    from agentd.run.attachments import with_parts

    content = with_parts(message.payload.content, [file.part for file in files])
    payload = message.payload.model_copy(update={"content": content})
    return message.model_copy(update={"payload": payload})
