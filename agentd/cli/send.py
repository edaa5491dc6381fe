"""`agentd send`: sends a message from a file or standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
        Path | None, typer.Argument(help="A message as JSON; default or -: standard input.")
    ] = None,
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
    message = _with_files(_message(_read(file)), attached)
    work = submit(target, message, due=due, files=attached, as_json=as_json)
    options.run(visit(work, env, nats))


def _read(file: Path | None) -> bytes:
    from agentd.errors import UsageError

    if file is None or str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _message(data: bytes) -> AgentMessage:
    from agentd.errors import DecodeError, UsageError
    from agentd.protocol.message import decode

    try:
        message = decode(data)
    except DecodeError as error:
        raise UsageError(f"not a valid message: {error}") from None
    if message.type not in ("task", "event"):
        raise UsageError(f"a {message.type} cannot be sent; send a task or an event")
    return message


def _with_files(message: AgentMessage, files: Sequence[Attachment]) -> AgentMessage:
    """The message with the files as parts of its content."""
    from agentd.run.attachments import with_parts

    content = with_parts(message.payload.content, [file.part for file in files])
    payload = message.payload.model_copy(update={"content": content})
    return message.model_copy(update={"payload": payload})
