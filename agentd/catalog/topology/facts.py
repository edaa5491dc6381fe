"""Facts that an agent waits for in vain, or hears of twice."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import combinations

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import ANY, FactSubscription, meeting
from agentd.manifest.diagnose import did_you_mean
from agentd.problems import Problem
from agentd.protocol.subjects import RUNTIME_EVENTS

_ALIKE = 0.75  # from here on two topics look like one that is misspelt


def check_facts(topology: Topology, name: str) -> Iterator[Problem]:
    """A warning for each pattern of this agent that nothing here ever matches, or two match."""
    member, subscriptions = topology.agents[name], topology.subscriptions[name]
    for subscription in subscriptions:
        publishers = topology.publishers(subscription.pattern)
        if publishers == frozenset({name}):
            yield member.warning(
                *subscription.loc,
                text=f"only {name} itself says `{subscription.pattern}`, and nobody hears itself",
                hint="name a fact of another agent",
            )
        elif not publishers:
            yield from _unsaid(topology, subscription)
    for one, other in combinations(subscriptions, 2):
        if one.joins and other.joins:
            continue  # one of each is wanted, whatever else it matches
        if both := meeting(one.pattern, other.pattern):
            yield _overlap(topology, one, other, both)


def _unsaid(topology: Topology, subscription: FactSubscription) -> Iterator[Problem]:
    """Whoever sends events may be no agent, so that one to run for is told only where it looks
    misspelt. A join, though, waits; and results come from agents."""
    member = topology.agents[subscription.agent]
    kind, domain, _ = subscription.pattern.split(".")
    if kind == "event" and domain in RUNTIME_EVENTS:
        return
    near = _nearest_fact(topology, subscription.pattern)
    if kind == "event" and not subscription.joins and not near:
        return
    waits = "; the join waits for its timeout" if subscription.joins else ""
    if kind == "result" and domain != ANY and domain not in topology.capable:
        text = f"nobody here answers tasks of `{domain}`{waits}"
        near = did_you_mean(domain, topology.capable) or near or "give an agent this capability"
    else:
        text = f"nobody here says `{subscription.pattern}`{waits}"
    mend = "an agent that has it under `emit`, or another program, must send it"
    yield member.warning(*subscription.loc, text=text, hint=near or mend)


def _nearest_fact(topology: Topology, pattern: str) -> str:
    # Compared without `result.` and `event.`: they alone would make two patterns look alike.
    kind, _, topic = pattern.partition(".")
    if topic.endswith(f".{ANY}"):
        known = {fact.split(".")[1] + f".{ANY}" for fact in topology.said if fact.startswith(kind)}
    else:
        known = {fact.partition(".")[2] for fact in topology.said if fact.startswith(kind)}
    near = get_close_matches(topic, known - {topic}, n=1, cutoff=_ALIKE)
    return f"did you mean `{kind}.{near[0]}`?" if near else ""


def _overlap(
    topology: Topology, one: FactSubscription, other: FactSubscription, both: str
) -> Problem:
    member = topology.agents[one.agent]
    if other.joins:
        return member.warning(
            *one.loc,
            text=f"`{both}` is joined as well: it runs for each such fact, and again for the join",
            hint="leave it out here or under `join`, unless both are meant",
        )
    inner, outer = (one, other) if one.pattern == both else (other, one)
    if inner.pattern == both:
        return member.warning(
            *inner.loc,
            text=f"`{outer.pattern}` has `{inner.pattern}` in it",
            hint="leave it out: a fact is run for once",
        )
    return member.warning(
        *other.loc,
        text=f"`{one.pattern}` and `{other.pattern}` both match `{both}`",
        hint="it is run for once; if that is meant, nothing is wrong",
    )
