"""`agentd ask`: sends a task and prints the answer as it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agentd.cli.shared import options
from agentd.cli.shared.answer import AnswerPrinter
from agentd.cli.shared.console import say
from agentd.cli.shared.submit import submit
from agentd.cli.shared.visit import of_a_trace, visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.message import AgentMessage
    from agentd.run.attachments import Attachment
    from agentd.settings import Settings

# The same as in agentd.routing.gather, whose import would slow down `--help`.
Mode = Literal["all", "first", "majority"]

Conversation = Annotated[
    str | None, typer.Option("--conversation", "-c", help="Continue this conversation.")
]
Priority = Annotated[
    int, typer.Option("--priority", "-p", min=0, max=9, help="0 to 9, higher is more urgent.")
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", "-t", help="Seconds to wait for the answer; the task may go on."),
]
Everyone = Annotated[
    bool, typer.Option("--all", help="Ask every capable agent; same as --gather all.")
]
Gather = Annotated[
    Mode | None, typer.Option(help="Ask every capable agent, and wait for these answers.")
]
Until = Annotated[
    str | None,
    typer.Option("--until", help="Follow the task until this fact: event.answer.ready."),
]
Up = Annotated[
    Path | None,
    typer.Option(
        "--up",
        help="Run the agents of this folder for this task only, in an environment of their own.",
    ),
]


def ask(
    target: Annotated[str, typer.Argument(help="A capability, domain.specificity, or @agent.")],
    text: Annotated[
        list[str] | None, typer.Argument(help="The task; default or -: standard input.")
    ] = None,
    files: options.Files = None,
    as_json: options.Json = False,
    conversation: Conversation = None,
    priority: Priority = 5,
    timeout: Timeout = 120.0,
    everyone: Everyone = False,
    gather: Gather = None,
    until: Until = None,
    up: Up = None,
    at: options.At = None,
    within: options.Within = None,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Send a task to an agent and stream its answer."""
    if not 0 < timeout < 1e9:  # false for nan, too
        raise typer.BadParameter("--timeout must be a number of seconds above 0")
    attached = options.attachments(files)
    content = _content(text, attached)
    if until and (everyone or gather):
        raise typer.BadParameter("--until follows one task; it does not go with --all or --gather")
    due = options.due(at, within)
    if due is None:
        question = _Question(
            target=target,
            message=_message(content, conversation, priority),
            files=attached,
            gather=gather or ("all" if everyone else None),
            until=_fact_pattern(until),
            as_json=as_json,
            timeout=timeout,
        )
        with of_a_trace():
            options.run(_ask(question, up, env, nats))
    if up:
        raise typer.BadParameter("--up does not go with --at or --in: the agents end before then")
    if everyone or gather or until:
        waits = "--all, --gather and --until wait for answers; they do not go with --at or --in"
        raise typer.BadParameter(waits)
    message = _message(content, conversation, priority)
    work = submit(target, message, due=due, files=attached, as_json=as_json)
    options.run(visit(work, env, nats))


def _content(text: list[str] | None, files: Sequence[Attachment]) -> Any:
    from agentd.run.attachments import with_parts

    return with_parts(_text(text), [file.part for file in files])


def _text(text: list[str] | None) -> str:
    if text and text != ["-"]:
        return " ".join(text)
    # On a terminal the command would wait for input without a word; with `-` that is wanted.
    if sys.stdin.isatty() and not text:
        raise typer.BadParameter("no task; write it as an argument, or to standard input")
    return sys.stdin.read()


def _fact_pattern(until: str | None) -> str | None:
    from agentd.manifest.quantities import fact_pattern

    try:
        return until and fact_pattern(until)
    except ValueError as error:
        raise typer.BadParameter(f"--until {until}: {'; '.join(error.args)}") from None


@dataclass(frozen=True, kw_only=True)
class _Question:
    """The task, and how its answer is wanted."""

    target: str
    message: AgentMessage
    files: Sequence[Attachment]
    gather: Mode | None
    until: str | None
    as_json: bool
    timeout: float


async def _ask(question: _Question, up: Path | None, env: str | None, nats: str | None) -> int:
    from agentd.cli.ask_all import ask_all
    from agentd.cli.shared.status_line import StatusLine
    from agentd.protocol.destination import Destination
    from agentd.protocol.subjects import Subjects
    from agentd.routing.ask import ask
    from agentd.routing.follow import follow
    from agentd.run.attachments import upload
    from agentd.settings import from_environment

    # All that can be wrong with the command line, before anything is started or connected.
    settings = from_environment(env=_own_world(up, env, question.message), nats=nats)
    to = Destination.parse(question.target)
    message, timeout, as_json = question.message, question.timeout, question.as_json
    subjects = Subjects(settings.env)
    subjects.task(to.domain, to.specificity)
    status = StatusLine(f"waiting for {to}")
    printer = AnswerPrinter(as_json=as_json, steps=question.until is not None, status=status)
    async with _bus(settings, up) as bus:
        await upload(bus, question.files)
        async with status.ticking(), _explained(message, up):
            if mode := question.gather:
                return await ask_all(
                    bus, subjects, to, message, mode=mode, timeout=timeout, as_json=as_json
                )
            if until := question.until:
                parts = follow(bus, subjects, to, message, until=until, timeout=timeout)
            else:
                parts = ask(bus, subjects, to, message, timeout=timeout)
            async for part in parts:
                printer.take(part)
    return 0 if printer.success else 1


@contextlib.asynccontextmanager
async def _explained(message: AgentMessage, up: Path | None) -> AsyncGenerator[None]:
    """Says what becomes of a task that this command no longer waits for."""
    from agentd.errors import TaskError

    ends = f"to end it: agentd stop --task {message.id}"
    interrupted = f"interrupted; task {message.id} goes on; {ends}"
    if up:
        ends = "it ends with the agents of this command"
        interrupted = f"interrupted; task {message.id} ends with the agents of this command"
    try:
        yield
    except asyncio.CancelledError:  # Ctrl-C
        say(f"agentd: {interrupted}", err=True)
        raise
    except TaskError as error:
        if error.code != "no_answer":
            raise
        raise TaskError(f"{error}; {ends}", code=error.code, retryable=True) from None


def _message(content: Any, conversation: str | None, priority: int) -> AgentMessage:
    """The task. It does not expire with `--timeout`: agents and people may work on what follows
    from it for longer than this command waits."""
    from agentd.protocol.message import AgentIdentity, Context, Routing, new, new_id

    task_id = new_id()
    return new(
        "task",
        content,
        id=task_id,
        source=AgentIdentity(id="agentd-ask", type="user"),
        context=Context(conversation_id=conversation or task_id),
        routing=Routing(priority=priority),
    )


def _own_world(up: Path | None, env: str | None, message: AgentMessage) -> str | None:
    """The environment. That of `--up` is its own, so that neither agents of other processes take
    the task, nor ours take other tasks. It is the same again only for a conversation that goes on.
    """
    from agentd.protocol.subjects import digest

    if up is None or env is not None:
        return env
    return f"ask-{digest(f'{up.resolve()} {message.context.conversation_id}')[:12]}"


@contextlib.asynccontextmanager
async def _bus(settings: Settings, up: Path | None) -> AsyncGenerator[Bus]:
    """A connection to the running agentd; with `--up`, to agents that this command runs itself."""
    from agentd.nats.session import visit

    if up is None:
        async with visit(settings) as bus:
            yield bus
        return
    from agentd.runtime.host import hosting

    async with hosting(replace(settings, http="off"), up, None) as hosted:
        try:
            yield hosted.bus
        except asyncio.CancelledError:  # Ctrl-C: nobody waits for what still runs
            hosted.runtime.hand_back()
            raise
