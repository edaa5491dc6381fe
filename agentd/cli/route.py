"""`agentd route`: explains which agents would take a message; sends nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import Styled, say, say_json

if TYPE_CHECKING:
    from agentd.catalog.topology.explain import Candidate, Explanation
    from agentd.nats.bus import Bus
    from agentd.protocol.message import AgentMessage
    from agentd.routing.registry import Replica
    from agentd.settings import Settings

_FACTS = ("result", "event")


def route(
    to: Annotated[
        str,
        typer.Argument(help="A target as for `ask`, a subject, or a message: JSON, a file or -."),
    ],
    message: Annotated[
        str | None, typer.Argument(help="The message: JSON, a file, or - for standard input.")
    ] = None,
    manifests: Annotated[
        Path | None,
        typer.Option("--manifests", help="Check these files [agents online, else manifests/]."),
    ] = None,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Explain which agents would take a message.

    Sends nothing. Exits with 1 if no agent would take it.
    """
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    where, sent = _arguments(to, message, settings.env)
    options.run(_route(settings, where, sent, manifests, as_json))


def _arguments(to: str, given: str | None, env: str) -> tuple[str, AgentMessage]:
    """The destination, as `type.domain.specificity` or a target of `ask`; and the message."""
    from agentd.errors import UsageError
    from agentd.protocol.subjects import Subjects

    is_message = to == "-" or to.lstrip().startswith("{") or Path(to).is_file()
    raw = _read(to if is_message else given)
    where = "" if is_message else to
    if "message" in raw and "subject" in raw:  # as `agentd tap --json` prints it
        where, raw = where or str(raw["subject"]), raw["message"]
    message = _decoded(raw, where)
    if not where and message.target:
        where = f"@{message.target}"
    if not where and message.routing.capabilities:
        where = message.routing.capabilities[0]
    if not where:
        raise UsageError("the message names no destination; write: agentd route TARGET MESSAGE")
    return Subjects(env).relative(where), message


def _read(given: str | None) -> dict[str, Any]:
    from agentd.errors import UsageError

    if given is None:
        return {}
    try:
        text = sys.stdin.read() if given == "-" else given
        if not text.lstrip().startswith("{"):
            text = Path(text).read_text()
        raw = json.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"{given[:80]} is not a file and not a JSON message: {error}") from None
    if not isinstance(raw, dict):
        raise UsageError("a message must be a JSON object")
    return raw


def _decoded(raw: dict[str, Any], where: str) -> AgentMessage:
    """The message. Its content may be left out, and its type follows from the subject."""
    from agentd.errors import DecodeError, UsageError
    from agentd.protocol.message import decode

    # A result cannot be decoded as a task, so the type must be known before.
    kind = next((each for each in _FACTS if where.split(".")[-3:-2] == [each]), None)
    kind = kind or next((each for each in _FACTS if f".{each}." in where), None)
    whole = {"payload": {"content": ""}, **({"type": kind} if kind else {}), **raw}
    try:
        return decode(json.dumps(whole).encode())
    except DecodeError as error:
        raise UsageError(f"not a valid message: {error}") from None


async def _route(
    settings: Settings, where: str, message: AgentMessage, manifests: Path | None, as_json: bool
) -> int:
    from agentd.nats.connection import resolve
    from agentd.nats.server import find
    from agentd.nats.session import visit

    # Unlike other commands this one is useful without a server: it answers from the files then.
    no_server = resolve(settings).embedded and find(settings.state) is None
    if manifests or no_server:
        folder = manifests or Path("manifests")
        candidates, source = _of_files(folder), f"files in {folder}"
    else:
        async with visit(settings) as bus:
            candidates, source = await _online(bus, settings.env), "agents online"
    explanation = _explain(where, message, candidates, settings.env)
    if as_json:
        say_json(_as_json(explanation, source), indent=2)
    else:
        _show(explanation, source)
    return 0 if explanation.takers and not explanation.objection else 1


def _of_files(folder: Path) -> list[Candidate]:
    from agentd.catalog.catalog import load
    from agentd.catalog.topology.explain import of_files

    return of_files(load(folder).topology)


async def _online(bus: Bus, env: str) -> list[Candidate]:
    """The agents online, each with the facts that its consumer on the server receives."""
    import asyncio
    from dataclasses import replace

    from agentd.queue.fact_consumer import heard_by
    from agentd.routing import registry

    found = of_replicas(await registry.online(bus, env))
    heard = await asyncio.gather(*(heard_by(bus, env, each.name) for each in found))
    return [
        replace(each, subscriptions=patterns) for each, patterns in zip(found, heard, strict=True)
    ]


def _explain(
    where: str, message: AgentMessage, candidates: list[Candidate], env: str
) -> Explanation:
    from agentd.catalog.topology.explain import explain_fact, explain_task
    from agentd.protocol.destination import Destination

    kind, *rest = where.split(".")
    if kind in _FACTS and len(rest) >= 2:
        return explain_fact(".".join([kind, *rest[:2]]), message.source.id, candidates, env)
    if kind == "task" and len(rest) >= 2:
        where = f"@{rest[1]}" if rest[0] == "_agent" else ".".join(rest[:2])
    to = Destination.parse(where)
    if message.type == "event":
        return explain_fact(f"event.{to}", message.source.id, candidates, env)
    return explain_task(to, message, candidates, env)


def _as_json(explanation: Explanation, source: str) -> dict[str, Any]:
    return {
        "subject": explanation.subject,
        "from": source,
        "each": explanation.each,
        "takers": explanation.takers,
        "objection": explanation.objection,
        "hint": explanation.hint,
        "agents": [
            {"agent": each.agent, "takes": each.takes, "why": each.why}
            for each in explanation.verdicts
        ],
    }


def _show(explanation: Explanation, source: str) -> None:
    say(f"{explanation.subject} ({source})")
    takers = [each for each in explanation.verdicts if each.takes]
    others = [each for each in explanation.verdicts if not each.takes]
    width = max((len(each.agent) for each in explanation.verdicts), default=0)
    if takers:
        head = "each of these agents receives" if explanation.each else "one of these agents takes"
        say(f"{head} it:")
    else:
        none = "no agent receives it" if explanation.each else "no agent takes it"
        say(f"{none}; {explanation.hint}" if explanation.hint else none)
    for each in takers:
        say(Styled(f"  + {each.agent:<{width}}  ", "green"), each.why)
    if others:
        say("these agents do not:")
    for each in others:
        say(Styled(f"  - {each.agent:<{width}}  ", "yellow"), each.why)
    if explanation.objection:
        say(f"but the agent would not run it: {explanation.objection}")


def of_replicas(online: Sequence[Replica]) -> list[Candidate]:
    """The agents online as candidates. An agent drains if all its replicas do."""
    from agentd.catalog.topology.explain import Candidate

    found: list[Candidate] = []
    for name in sorted({each.agent for each in online}):
        replicas = [each for each in online if each.agent == name]
        held = sorted({capability for each in replicas for capability in each.capabilities})
        draining = all(each.state == "draining" for each in replicas)
        others = {each.state for each in replicas} - {"ready", "draining"}
        slots = sum(each.concurrency for each in replicas)
        busy = sum(each.in_flight for each in replicas)
        note = f"{len(replicas)} replica{'' if len(replicas) == 1 else 's'}, {busy} of {slots} busy"
        found.append(
            Candidate(
                name=name,
                capabilities=tuple(held),
                unavailable="it is draining and takes no new tasks" if draining else "",
                note="; ".join([note, *sorted(others)]),
            )
        )
    return found
