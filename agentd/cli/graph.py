"""`agentd graph`: draws the agents of a folder, and how work flows between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import Style, Styled, say, say_json

if TYPE_CHECKING:
    from agentd.catalog.topology.flow import Topology
    from agentd.routing.registry import Replica
    from agentd.settings import Settings

Form = Literal["text", "mermaid", "dot", "json"]

_BETWEEN = 1.2  # seconds between two reads of the registry: busy agents update it every second


def graph(
    manifests: options.Manifests = Path("manifests"),
    prompts: options.Prompts = None,
    form: Annotated[Form, typer.Option("--format", help="The output format.")] = "text",
    as_json: options.Json = False,
    live: Annotated[
        bool, typer.Option("--live", help="Add the state of the running agents.")
    ] = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Draw the agents and how work flows between them."""
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    options.run(_graph(settings, manifests, prompts, "json" if as_json else form, live))


async def _graph(
    settings: Settings, manifests: Path, prompts: Path | None, form: Form, live: bool
) -> int:
    from agentd.catalog.catalog import load
    from agentd.catalog.topology.graph import Graph
    from agentd.catalog.topology.picture import Picture
    from agentd.problems import errors

    catalog = load(manifests, prompts=prompts)
    running = await _running(settings) if live else {}
    notes = notes_on(catalog.topology, running) if live else {}
    drawn = Graph.of(catalog.topology, settings.model).noted(notes)
    if form == "json":
        say_json(drawn.as_json() | ({"live": running} if live else {}), indent=2)
    elif form == "mermaid":
        say(Picture.of(drawn).as_mermaid(), lines=True)
    elif form == "dot":
        say(Picture.of(drawn).as_dot(), lines=True)
    else:
        _show(catalog.topology, settings.model, notes)
    for problem in errors(catalog.problems):
        say(problem.render(), err=True, lines=True)
    return 2 if catalog.broken else 0


async def _running(settings: Settings) -> dict[str, dict[str, Any]]:
    """The agents online as the registry has them, each with its `rate`: tasks per second."""
    import asyncio

    from agentd.nats.session import visit
    from agentd.routing import registry

    async with visit(settings) as bus:
        before = await registry.online(bus, settings.env)
        await asyncio.sleep(_BETWEEN)
        now = await registry.online(bus, settings.env)
    rates = rates_of(before, now)
    return {
        each["agent"]: each | {"rate": round(rates.get(each["agent"], 0.0), 2)}
        for each in registry.by_agent(now)
    }


def rates_of(before: list[Replica], now: list[Replica]) -> dict[str, float]:
    """The tasks per second of each agent, from two entries of each of its replicas."""
    earlier = {(each.agent, each.instance): each for each in before}
    rates: dict[str, float] = {}
    for each in now:
        old = earlier.get((each.agent, each.instance))
        # By the times of the entries, not of our reads: those say when the numbers were true.
        if old and each.seen > old.seen:
            done = each.done + each.failed - old.done - old.failed
            rates[each.agent] = rates.get(each.agent, 0.0) + done / (each.seen - old.seen)
    return rates


def notes_on(topology: Topology, running: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A line about each agent that runs, or that is in the files."""
    notes = dict.fromkeys(topology.agents, "not running")
    for name, agent in running.items():
        replicas = f"{agent['replicas']} replica{'' if agent['replicas'] == 1 else 's'}"
        parts = [
            replicas,
            f"{agent['in_flight']} of {agent['concurrency']} running",
            f"{agent['done']:,} done",
        ]
        parts += [f"{agent['failed']:,} failed"] if agent["failed"] else []
        parts += [f"{agent['rate']:.1f} tasks/s"] if agent["rate"] else []
        parts += [agent["state"]] if agent["state"] != "ready" else []
        parts += [] if name in topology.agents else ["not in these files"]
        notes[name] = " · ".join(parts)
    return notes


def _show(topology: Topology, model: str, notes: Mapping[str, str]) -> None:
    """Prints each agent with its inputs and outputs, in the order in which work flows."""
    agents = topology.agents
    for name in in_flow(topology):
        description = agents[name].manifest.description
        say(Styled(name, "bold"), f"  {description}" if description else "")
        if name in notes:
            say(Styled(f"  {notes[name]}", _colour(notes[name])))
        for label, line in _lines(topology, name, model):
            say("  ", Styled(f"{label:<13}", "dim"), line)
        say()
    for name in sorted(notes.keys() - agents.keys()):
        say(Styled(name, "bold"))
        say(f"  {notes[name]}", end="\n\n")
    say(f"{len(agents)} agent{'' if len(agents) == 1 else 's'}")


def _colour(note: str) -> Style:
    return "yellow" if note.startswith("not ") else "green"


def _lines(topology: Topology, name: str, model: str) -> Iterator[tuple[str, str]]:
    """The lines of one agent: a label and a text each."""
    from agentd.catalog.topology.graph import condition, tool_name, trigger_name
    from agentd.manifest.json_schema.summary import in_short

    manifest = topology.agents[name].manifest
    if manifest.capabilities:
        yield "takes", ", ".join(f"task.{each}.*" for each in manifest.capabilities)
    if manifest.accepts is not None:
        yield "accepts", in_short(manifest.accepts)
    for subscription in topology.subscriptions[name]:
        publishers = (
            ", ".join(sorted(topology.publishers(subscription.pattern) - {name})) or "no agent here"
        )
        count = manifest.join.count if subscription.joins and manifest.join else None
        source = f"{subscription.pattern} ← {publishers}" + (f"  ({count})" if count else "")
        yield "joins" if subscription.joins else "subscribes", source
    if schedule := manifest.schedule:
        every = f"every {schedule.every:g} s" if schedule.every else schedule.cron
        yield "scheduled", every or ""
    for task in topology.triggered[name]:
        takers = ", ".join(sorted(topology.takers(task))) or "no agent here"
        to = f"{task.to}" if task.to.agent else f"task.{task.to}"
        goes = "" if takers == name and task.to.agent else f" → {to} → {takers}"
        when = f"  (when {task.trigger.when})" if task.trigger.when else ""
        yield "triggered by", trigger_name(task.trigger) + goes + when
    for emission in topology.emissions[name]:
        when = condition(emission)
        yield "emits", emission.subject + _goes_to(topology, emission) + (when and f"  ({when})")
    for tool in manifest.tools:
        yield ("asks", f"@{tool.agent}") if tool.agent else ("calls", tool_name(tool))
    if manifest.call:
        yield "model", f"none: {manifest.call.tool} is called for each message"
    else:
        yield "model", ", ".join(each.name for each in manifest.model) or model


def _goes_to(topology: Topology, emission: Any) -> str:
    if emission.is_task:
        found = topology.takers(emission)
        return f" → {', '.join(sorted(found)) or 'no agent here'}"
    subscribers = {
        subscription.agent
        for subscription in topology.subscribers(emission.subject, emission.agent)
    }
    return f" → {', '.join(sorted(subscribers))}" if subscribers else ""


def in_flow(topology: Topology) -> list[str]:
    """The agents, each after an agent that passes work to it, if there is one.

    Agents that get no work from others come first. In a cycle every agent gets some: there the
    first by name begins.
    """
    after: dict[str, set[str]] = {name: set() for name in topology.agents}
    for run, steps in topology.steps.items():
        after[run.agent] |= {step.run.agent for step in steps}
    receivers = {name for names in after.values() for name in names}
    order: dict[str, None] = {}
    for first in (*sorted(after.keys() - receivers), *sorted(after)):
        waiting = [first]
        while waiting:
            name = waiting.pop(0)
            if name not in order:
                order[name] = None
                waiting += sorted(after[name])
    return list(order)
