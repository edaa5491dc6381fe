"""`agentd trigger`: tries a trigger with a delivery from a file, and shows the task it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_data, say_json
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.catalog.spec import AgentSpec
    from agentd.doors.triggers.delivery import Delivery
    from agentd.doors.triggers.draft import Draft
    from agentd.manifest.triggers.trigger import Trigger
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects

Headers = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", metavar="<name: value>", help="A header; repeatable."),
]


def trigger(
    name: Annotated[
        str,
        typer.Argument(help="The webhook, subject or pattern of files, as the manifest has it."),
    ],
    file: Annotated[
        Path | None,
        typer.Argument(help="The body, or the new file; default or -: standard input."),
    ] = None,
    headers: Headers = None,
    query: Annotated[str, typer.Option("--query", help="The query of the request: a=1&b=2.")] = "",
    subject: Annotated[
        str | None, typer.Option("--subject", help="The subject of the message.")
    ] = None,
    manifests: Annotated[
        Path, typer.Option("--manifests", "-m", help="The folder of the manifests.")
    ] = Path("manifests"),
    prompts: options.Prompts = None,
    send: Annotated[bool, typer.Option("--send", help="Send the task.")] = False,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Show the task that a trigger makes of a delivery, or send it; signatures are not checked."""
    from agentd.doors.triggers.draft import draft

    spec, found = _find(name, manifests, prompts)
    planned = draft(spec, found, _delivery(found, file, _parsed(headers), query, subject))
    if planned is None:
        say(f"no task: `when` is not true: {found.when}")
        raise typer.Exit(1)
    if not send:
        _show(planned, as_json)
        return

    async def work(bus: Bus, subjects: Subjects) -> int:
        return await _send(bus, subjects, planned, as_json)

    options.run(visit(work, env, nats))


def _find(name: str, manifests: Path, prompts: Path | None) -> tuple[AgentSpec, Trigger]:
    """The trigger of this name, and its agent."""
    from agentd.catalog.catalog import load
    from agentd.errors import UsageError
    from agentd.problems import did_you_mean, errors

    catalog = load(manifests, prompts=prompts)
    known = {
        trigger.name: (spec, trigger)
        for spec in catalog.agents.values()
        for trigger in spec.manifest.triggers
    }
    if name in known:
        return known[name]
    problems = "".join(f"\n{each.render()}" for each in errors(catalog.problems))
    hint = did_you_mean(name, known) or f"the triggers are: {', '.join(sorted(known)) or 'none'}"
    raise UsageError(f"no trigger {name!r} in {manifests}; {hint}{problems}")


def _delivery(
    trigger: Trigger, file: Path | None, headers: dict[str, str], query: str, subject: str | None
) -> Delivery:
    """The content of the file as a delivery to the trigger."""
    from agentd.doors.triggers.delivery import of_file, of_message, of_request
    from agentd.errors import DecodeError, UsageError
    from agentd.protocol.message import new_id
    from agentd.run.attachments import attachment

    data = options.read(file)
    try:
        if trigger.kind == "files":
            shown = str(file or "-")
            return of_file(attachment(data, Path(shown).name, shown), shown)
        if trigger.kind == "nats":
            return of_message(subject or trigger.name, headers, data, new_id())
        kind = trigger.verify.kind if trigger.verify else "none"
        return of_request(kind, headers, query.encode(), data)
    except DecodeError as error:
        raise UsageError(f"{file or 'standard input'}: {error}") from None


def _parsed(headers: list[str] | None) -> dict[str, str]:
    """The headers by their names in lower case, as a trigger sees them."""
    found: dict[str, str] = {}
    for header in headers or ():
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter(f"--header {header}: write name: value")
        found[name.strip().lower()] = value.strip()
    return found


def _show(planned: Draft, as_json: bool) -> None:
    """Prints the task, without what is new each time: its id and its time."""
    message = planned.message("-").model_dump(mode="json", exclude_unset=True)
    if planned.conversation is None:
        del message["context"]["conversationId"]
    task = {name: value for name, value in message.items() if name not in ("id", "timestamp")}
    shown: dict[str, Any] = {"to": str(planned.to), "delivery": planned.delivery, "task": task}
    if planned.callback:
        shown["callback"] = planned.callback
    if as_json:
        say_json(shown, indent=2)
        return
    say(f"a task for {planned.to}, delivery {planned.delivery}")
    if planned.callback:
        say(f"its result goes to {planned.callback}")
    content = planned.content
    say_data(content if isinstance(content, str) else json.dumps(content, indent=2))
    say()


async def _send(bus: Bus, subjects: Subjects, planned: Draft, as_json: bool) -> int:
    from agentd.doors.triggers.intake import Intake
    from agentd.nats.shared_value import Secret

    secret = Secret()
    await secret.read(bus, subjects.env)
    accepted = await Intake(bus, subjects, secret).accept(planned)
    if as_json:
        say_json({"id": accepted.task, "to": accepted.to, "repeated": accepted.repeated})
    elif accepted.repeated:
        say(f"task {accepted.task} was sent before, for the same delivery")
    else:
        say(f"task {accepted.task} sent to {accepted.to}")
    return 0
