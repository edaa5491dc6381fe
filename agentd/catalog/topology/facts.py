"""Warnings for subscriptions to facts that no agent publishes, or that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import WILDCARD, FactSubscription, intersection
from agentd.problems import Problem, did_you_mean, nearest
from agentd.protocol.subjects import RUNTIME_EVENTS

_SIMILAR = 0.75  # topics that are at least this similar look like a misspelling


def check_facts(topology: Topology, name: str) -> Iterator[Problem]:
    """Warnings for patterns of this agent that no fact matches, and for patterns that overlap."""
    member, subscriptions = topology.agents[name], topology.subscriptions[name]
    for subscription in subscriptions:
        publishers = topology.publishers(subscription.pattern)
        if publishers == frozenset({name}):
            yield member.warning(
                *subscription.loc,
                text=f"only {name} itself publishes `{subscription.pattern}`, "
                "and an agent does not receive its own facts",
                hint="subscribe to a fact of another agent",
            )
        elif not publishers:
            yield from _unpublished(topology, subscription)
    for one, other in combinations(subscriptions, 2):
        if one.joins and other.joins:
            continue  # a join waits for a fact of each pattern, and one fact can serve two of them
        if both := intersection(one.pattern, other.pattern):
            yield _overlap(topology, one, other, both)


def _unpublished(topology: Topology, subscription: FactSubscription) -> Iterator[Problem]:
    """A warning for a pattern that no agent here publishes.

    Events may come from other programs, so a subscription to an event is only reported if it looks
    misspelt. For a join every pattern is reported, as the join would wait in vain.
    """
    member = topology.agents[subscription.agent]
    kind, domain, _ = subscription.pattern.split(".")
    if kind == "event" and domain in RUNTIME_EVENTS:
        return
    suggestion = _nearest_fact(topology, subscription.pattern)
    if kind == "event" and not subscription.joins and not suggestion:
        return
    known = topology.agents_by_capability
    result = ", so the join waits until its timeout" if subscription.joins else ""
    if kind == "result" and domain != WILDCARD and domain not in known:
        text = f"no agent here answers tasks of `{domain}`{result}"
        hint = did_you_mean(domain, known) or suggestion or "give an agent this capability"
    else:
        text = f"no agent here publishes `{subscription.pattern}`{result}"
        hint = suggestion or "an agent must emit it, or another program must publish it"
    yield member.warning(*subscription.loc, text=text, hint=hint)


def _nearest_fact(topology: Topology, pattern: str) -> str:
    """`did you mean …?` with the published fact that is most similar to the pattern."""
    # Compared without `result.` and `event.`, as these alone would make two patterns look similar.
    kind, _, topic = pattern.partition(".")
    facts = (fact for fact in topology.publishers_by_fact if fact.startswith(kind))
    if topic.endswith(f".{WILDCARD}"):
        known = {f"{fact.split('.')[1]}.{WILDCARD}" for fact in facts}
    else:
        known = {fact.partition(".")[2] for fact in facts}
    near = nearest(topic, known - {topic}, cutoff=_SIMILAR)
    return f"did you mean `{kind}.{near}`?" if near else ""


def _overlap(
    topology: Topology, one: FactSubscription, other: FactSubscription, both: str
) -> Problem:
    member = topology.agents[one.agent]
    if other.joins:
        return member.warning(
            *one.loc,
            text=f"`{both}` is also joined, so the agent runs for each such fact "
            "and again for the join",
            hint="remove it here or under `join`, unless both runs are intended",
        )
    inner, outer = (one, other) if one.pattern == both else (other, one)
    if inner.pattern == both:
        return member.warning(
            *inner.loc,
            text=f"`{outer.pattern}` already includes `{inner.pattern}`",
            hint="remove it: the agent runs once for each fact",
        )
    return member.warning(
        *other.loc,
        text=f"`{one.pattern}` and `{other.pattern}` both match `{both}`",
        hint="the agent runs once for such a fact; ignore this if both patterns are intended",
    )
