"""Warnings for tasks that no agent takes, unknown names, and agents that nothing reaches."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import WILDCARD, Emission, Loc, Member
from agentd.manifest.flow import EmitRule
from agentd.problems import Problem, did_you_mean


def check_tasks(topology: Topology, name: str) -> Iterator[Problem]:
    """Warnings for the tasks that an agent may emit or its triggers start, its agent tools, and the
    agent itself.

    They are no errors, because what is missing here may run in another process.
    """
    member = topology.agents[name]
    for index, rule in enumerate(member.manifest.emit.rules):
        yield from _unknown_agents(topology, member, ("emit", "rules", index), rule)
    for emission in topology.emissions[name]:
        if emission.is_task and not topology.takers(emission):
            yield from _why_untaken(topology, member, emission)
    yield from _unanswered_tools(topology, name)
    yield from _unfinished_triggers(topology, name)
    if not _is_reachable(topology, name):
        yield member.warning(
            "capabilities",
            text="`capabilities` is empty, and nothing here sends a task or fact to this agent",
            hint=f"give it a capability or `subscribe`; now only `agentd ask @{name}` reaches it",
        )


def _unknown_agents(
    topology: Topology, member: Member, place: Loc, rule: EmitRule
) -> Iterator[Problem]:
    """Warnings for the agents that a rule names: its targets and its exclusions."""
    for index, target in enumerate(rule.target):
        if target not in topology.agents:
            yield member.warning(
                *(*place, "target", index),
                text=_no_agent(target),
                hint=_nearest_agent(topology, target),
            )
        else:
            yield from _lacking(topology.agents[target], member, place, rule)
    for index, excluded in enumerate(rule.exclusions):
        if excluded not in topology.agents:
            yield member.warning(
                *(*place, "exclusions", index),
                text=f"{_no_agent(excluded)}, so this exclusion has no effect",
                hint=_nearest_agent(topology, excluded),
            )


def _lacking(target: Member, member: Member, place: Loc, rule: EmitRule) -> Iterator[Problem]:
    """Warnings for the capabilities that a rule asks for, and that its target lacks."""
    for index, capability in enumerate(rule.capabilities):
        if capability not in target.manifest.capabilities:
            yield member.warning(
                *(*place, "capabilities", index),
                text=f"`{target.manifest.name}` lacks the capability `{capability}`",
                hint="give it this capability, or remove the capability here",
            )


def _why_untaken(topology: Topology, member: Member, emission: Emission) -> Iterator[Problem]:
    """Warnings that say why no agent here takes a task.

    Either no agent has a capability, or none has all of them, or those that have are excluded.
    """
    rule, domain = emission.rule, emission.topic[0]
    if emission.target:
        return  # _unknown_agents has reported it
    missing = [
        c for c in (rule.capabilities if rule else ()) if c not in topology.agents_by_capability
    ]
    for capability in missing:
        index = rule.capabilities.index(capability) if rule else 0
        yield member.warning(
            *(*emission.loc[:3], "capabilities", index),  # of the rule
            text=f"no agent here has the capability `{capability}`",
            hint=_nearest_capability(topology, capability),
        )
    if domain != WILDCARD and domain not in topology.agents_by_capability:
        yield member.warning(
            *emission.loc,
            text=f"no agent here takes tasks of `{domain}`",
            hint=_nearest_capability(topology, domain),
        )
    elif not missing:  # else the warnings above have said why
        yield member.warning(*emission.loc, **_why_excluded(topology, emission))


def _why_excluded(topology: Topology, emission: Emission) -> dict[str, str]:
    """Text and hint for a task whose capabilities exist, but not in an agent that may take it."""
    rule = emission.rule
    needed = {emission.topic[0], *(rule.capabilities if rule else ())} - {WILDCARD}
    able = topology.agents_with(needed)
    if not able and not needed:
        return {"text": "no agent here takes tasks", "hint": "give an agent a capability"}
    if not able:
        every = " and ".join(f"`{each}`" for each in sorted(needed))
        return {"text": f"no agent here has all of {every}", "hint": "give one agent all of them"}
    if able == frozenset({emission.agent}):
        return {
            "text": f"only {emission.agent} itself could take this task, "
            "and an agent cannot take a task that it has just emitted",
            "hint": "give another agent this capability",
        }
    excluded = ", ".join(sorted(able - {emission.agent}))
    return {
        "text": f"every agent that could take this task is excluded: {excluded}",
        "hint": "exclude fewer agents, or give another agent this capability",
    }


def _unanswered_tools(topology: Topology, name: str) -> Iterator[Problem]:
    """Warnings for agent tools that no agent answers."""
    member = topology.agents[name]
    for index, tool in enumerate(member.manifest.tools):
        if not tool.agent:
            continue
        place = ("tools", index, "agent")
        by_name = tool.agent in topology.agents
        if tool.gather and not topology.agents_with([tool.agent]) - {name}:
            what = "an agent, but " if by_name else ""
            yield member.warning(
                *place,
                text=f"`{tool.agent}` is {what}not a capability of another agent here",
                hint=did_you_mean(tool.agent, topology.agents_by_capability)
                or "`gather` asks every agent that has a capability",
            )
        elif not tool.gather and not by_name and not topology.agents_with([tool.agent]) - {name}:
            known = {*topology.agents, *topology.agents_by_capability} - {name, tool.agent}
            yield member.warning(
                *place,
                text=f"no other agent here has the name or the capability `{tool.agent}`",
                hint=did_you_mean(tool.agent, known) or "add such an agent",
            )


def _unfinished_triggers(topology: Topology, name: str) -> Iterator[Problem]:
    """Warnings for tasks of triggers that no agent takes, and for facts that never end the work."""
    member = topology.agents[name]
    for task in topology.triggered[name]:
        agent, domain = task.to.agent, task.to.domain
        if not topology.takers(task):
            unknown = _no_agent(agent) if agent else f"no agent here takes tasks of `{domain}`"
            hint = (_nearest_agent if agent else _nearest_capability)(topology, agent or domain)
            yield member.warning(*task.loc, text=unknown, hint=hint)
        until = task.trigger.until
        if until and not topology.publishers(until):
            yield member.warning(
                *(*task.loc[:2], "until"),
                text=f"no agent here publishes `{until}`, so nothing ends the work",
                hint="let an agent emit it, or name another fact",
            )


def _is_reachable(topology: Topology, name: str) -> bool:
    manifest = topology.agents[name].manifest
    if manifest.capabilities or manifest.subscribe or manifest.join or manifest.schedule:
        return True
    return name in topology.addressed


def _no_agent(name: str) -> str:
    return f"no agent here is called `{name}`"


def _nearest_agent(topology: Topology, name: str) -> str:
    if name in topology.agents_by_capability:
        holders = ", ".join(sorted(topology.agents_by_capability[name]))
        return f"it is a capability of {holders}"
    return did_you_mean(name, topology.agents) or f"the agents here are {_some(topology)}"


def _nearest_capability(topology: Topology, name: str) -> str:
    if name in topology.agents:
        return f"it is an agent: give it this capability, or set `target: {name}`"
    return did_you_mean(name, topology.agents_by_capability) or "give an agent this capability"


def _some(topology: Topology, most: int = 8) -> str:
    """The names of the first agents."""
    names = sorted(topology.agents)
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")
