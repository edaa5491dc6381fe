"""Work that leads nowhere: tasks nobody takes, names nobody has, agents nobody reaches."""

from __future__ import annotations

from collections.abc import Iterator

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import ANY, Emission, Member
from agentd.manifest.diagnose import did_you_mean
from agentd.manifest.flow import EmitRule
from agentd.problems import Problem


def check_work(topology: Topology, name: str) -> Iterator[Problem]:
    """A warning for each task that this agent may emit to nobody, and for each agent it names that
    is not here. Both may be in another process, so neither is an error."""
    member = topology.agents[name]
    for emission in topology.emissions[name]:
        if emission.rule:
            yield from _unknown_agents(topology, member, emission, emission.rule)
        if emission.is_task and not topology.takers(emission):
            yield from _untaken(topology, member, emission)
    yield from _helpers(topology, name)
    if _is_out_of_reach(topology, name):
        yield member.warning(
            "capabilities",
            text="is empty, and nothing here sends or says anything to this agent",
            hint=f"give it a capability or `subscribe`; `agentd ask @{name}` reaches it as it is",
        )


def _unknown_agents(
    topology: Topology, member: Member, emission: Emission, rule: EmitRule
) -> Iterator[Problem]:
    place = emission.loc[:-1]
    if rule.target and rule.target not in topology.agents:
        yield member.warning(
            *place, "target", text=_nobody(rule.target), hint=_nearest_agent(topology, rule.target)
        )
    elif rule.target:
        held = topology.agents[rule.target].manifest.capabilities
        for index, capability in enumerate(rule.capabilities):
            if capability not in held:
                yield member.warning(
                    *(*place, "capabilities", index),
                    text=f"`{rule.target}` lacks the capability `{capability}`",
                    hint="a task that its target cannot do is done by nobody",
                )
    for index, excluded in enumerate(rule.exclusions):
        if excluded not in topology.agents:
            yield member.warning(
                *(*place, "exclusions", index),
                text=f"{_nobody(excluded)}: it keeps nobody from the work",
                hint=_nearest_agent(topology, excluded),
            )


def _untaken(topology: Topology, member: Member, emission: Emission) -> Iterator[Problem]:
    """Why nobody takes it: a capability that nobody has, no one who has all, or none but those
    who may not."""
    rule, domain = emission.rule, emission.topic[0]
    if rule and rule.target:
        return  # told already
    missing = [c for c in (rule.capabilities if rule else ()) if c not in topology.capable]
    for capability in missing:
        index = rule.capabilities.index(capability) if rule else 0
        yield member.warning(
            *(*emission.loc[:-1], "capabilities", index),
            text=f"nobody here has the capability `{capability}`",
            hint=_nearest_capability(topology, capability),
        )
    if domain != ANY and domain not in topology.capable:
        yield member.warning(
            *emission.loc,
            text=f"nobody here takes tasks of `{domain}`",
            hint=_nearest_capability(topology, domain),
        )
    elif not missing:
        yield member.warning(*emission.loc, **_barred(topology, emission))


def _barred(topology: Topology, emission: Emission) -> dict[str, str]:
    """The words for work that some could do, all of whom may not."""
    rule = emission.rule
    needed = {emission.topic[0], *(rule.capabilities if rule else ())} - {ANY}
    able = topology.holding(needed)
    if not able and not needed:
        return {"text": "nobody here takes tasks", "hint": "give an agent a capability"}
    if not able:
        every = " and ".join(f"`{each}`" for each in sorted(needed))
        return {"text": f"nobody here has all of {every}", "hint": "give one agent all of them"}
    if able == frozenset({emission.agent}):
        return {
            "text": f"only {emission.agent} itself could take this, and nobody takes what it has "
            "just handed on",
            "hint": "give another agent this capability",
        }
    return {
        "text": f"all who could take this may not: {', '.join(sorted(able))}",
        "hint": "exclude fewer, or give another agent this capability",
    }


def _helpers(topology: Topology, name: str) -> Iterator[Problem]:
    """Tools that are agents, and nobody answers."""
    member = topology.agents[name]
    for index, tool in enumerate(member.manifest.tools):
        if not tool.agent:
            continue
        place = ("tools", index, "agent")
        by_name = tool.agent in topology.agents
        if tool.gather and not topology.holding([tool.agent]) - {name}:
            what = "an agent, and " if by_name else ""
            yield member.warning(
                *place,
                text=f"`{tool.agent}` is {what}no capability that another agent here has",
                hint=did_you_mean(tool.agent, topology.capable)
                or "`gather` asks all who have a capability",
            )
        elif not tool.gather and not by_name and not topology.holding([tool.agent]) - {name}:
            known = {*topology.agents, *topology.capable} - {name, tool.agent}
            yield member.warning(
                *place,
                text=f"no other agent here is called `{tool.agent}`, or has this capability",
                hint=did_you_mean(tool.agent, known) or "add the agent",
            )


def _is_out_of_reach(topology: Topology, name: str) -> bool:
    manifest = topology.agents[name].manifest
    if manifest.capabilities or manifest.subscribe or manifest.join or manifest.schedule:
        return False
    return name not in topology.called


def _nobody(name: str) -> str:
    return f"no agent here is called `{name}`"


def _nearest_agent(topology: Topology, name: str) -> str:
    if name in topology.capable:
        holders = ", ".join(sorted(topology.capable[name]))
        return f"it is a capability, of {holders}"
    return did_you_mean(name, topology.agents) or f"the agents here: {_some(topology)}"


def _nearest_capability(topology: Topology, name: str) -> str:
    if name in topology.agents:
        return f"it is an agent: give it this capability, or name it as `target: {name}`"
    return did_you_mean(name, topology.capable) or "give an agent this capability"


def _some(topology: Topology, most: int = 8) -> str:
    names = sorted(topology.agents)
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")
