"""`agentd tap`: prints the messages of an environment as they are published."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import say, say_json

if TYPE_CHECKING:
    from agentd.nats.bus import Msg

_HEARTBEAT = ".event.status.heartbeat"


def tap(
    pattern: Annotated[
        str, typer.Argument(help="Subjects to show: 'task.>', 'result.analysis.*.*'.")
    ] = ">",
    every: Annotated[
        bool, typer.Option("--all", help="Also heartbeats, which are hidden otherwise.")
    ] = False,
    as_json: options.Json = False,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Stop after so many messages.")
    ] = None,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Show messages as they are published, one line each."""
    # Who names these events asks for them.
    hidden = "" if every or "status" in pattern else _HEARTBEAT
    options.run(_tap(pattern, hidden, as_json, count, env, nats))


async def _tap(
    pattern: str,
    hidden: str,
    as_json: bool,
    count: int | None,
    env: str | None,
    nats: str | None,
) -> int:
    from agentd.errors import SubjectError, UsageError
    from agentd.nats.permissions import PROBE
    from agentd.nats.session import visit
    from agentd.protocol.subjects import Subjects
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    subjects = Subjects(settings.env)
    try:
        wanted = subjects.pattern(subjects.relative(pattern))
    except SubjectError as error:
        raise UsageError(str(error)) from None
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    shown = 0

    async def show(msg: Msg) -> None:
        nonlocal shown
        is_probe = not msg.data and PROBE in (msg.headers or {})
        if done.done() or is_probe or (hidden and msg.subject.endswith(hidden)):
            return
        try:
            if as_json:
                say_json(json_of(msg))
            else:
                say(line_of(msg))
        except BrokenPipeError as error:
            # The reader has ended. Raised here, the error would only reach nats-py, which logs it.
            done.set_exception(error)
            return
        shown += 1
        if shown == count:
            done.set_result(None)

    async with visit(settings) as bus:
        await bus.subscribe(wanted, show)
        await done
    return 0


def json_of(msg: Msg) -> dict[str, Any]:
    """One object per message: subject, headers, and the message, or bytes that are not JSON."""
    from agentd.errors import DecodeError
    from agentd.protocol import strict_json

    shown: dict[str, Any] = {"subject": msg.subject, "headers": dict(msg.headers or {})}
    try:
        shown["message"] = strict_json.parse(msg.data)
    except DecodeError:
        shown["base64"] = base64.b64encode(msg.data).decode()
    return shown


def line_of(msg: Msg) -> str:
    """The time, the id of a task, the subject, the sender and the content in one line."""
    from agentd.errors import DecodeError
    from agentd.protocol.gist import gist
    from agentd.protocol.message import decode, short_id

    now = clock(time.time())
    # Other subjects than those of tasks end with the id of their task.
    subject = ".".join(map(short_id, msg.subject.split(".")[2:]))
    try:
        # Without an id in it, a message has that of its header.
        message = decode(msg.data, id=(msg.headers or {}).get("Nats-Msg-Id") or "-")
    except DecodeError as error:
        return f"{now}  {'':<8}  {subject:<36} {len(msg.data)} bytes, not a valid message: {error}"
    task = short_id(message.id) if message.type == "task" else ""
    return f"{now}  {task:<8}  {subject:<36} {message.source.id:<12} {gist(message)}"
