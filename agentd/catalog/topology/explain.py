"""Explains which agents would take a message, and why the others would not. Sends nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import intersection
from agentd.problems import did_you_mean
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import Subjects


@dataclass(frozen=True)
class Candidate:
    """An agent that may take a message.

    Attributes:
        subscriptions: patterns of facts.
        max_hops: its `limits.hops`; None if it is not known.
        unavailable: why the agent takes nothing now; "" if it does.
        note: more information about the agent, for people.
    """

    name: str
    capabilities: tuple[str, ...]
    subscriptions: tuple[str, ...] = ()
    max_hops: int | None = None
    unavailable: str = ""
    note: str = ""


@dataclass(frozen=True)
class Eligibility:
    """Whether an agent takes the message, and why."""

    agent: str
    takes: bool
    why: str


@dataclass(frozen=True)
class Explanation:
    """Where a message goes.

    Attributes:
        subject: the subject that it is published to.
        each: whether every agent that takes it gets a copy (a fact), or only one gets it (a task).
        verdicts: every agent, and whether it takes the message.
        objection: why no agent runs it although an agent would take it; "" if there is no reason.
        hint: a suggestion for a misspelt destination.
    """

    subject: str
    each: bool
    verdicts: tuple[Eligibility, ...]
    objection: str = ""
    hint: str = ""

    @property
    def takers(self) -> list[str]:
        """The names of the agents that take the message."""
        return [verdict.agent for verdict in self.verdicts if verdict.takes]


def of_files(topology: Topology) -> list[Candidate]:
    """The agents of a folder as candidates."""
    return [
        Candidate(
            name=name,
            capabilities=member.manifest.capabilities,
            subscriptions=tuple(
                subscription.pattern for subscription in topology.subscriptions[name]
            ),
            max_hops=member.manifest.limits.hops,
        )
        for name, member in topology.agents.items()
    ]


def explain_task(
    to: Destination, message: AgentMessage, candidates: Sequence[Candidate], env: str
) -> Explanation:
    """The agents that take a task, and the reasons of the others."""
    recipients = Recipients.of(message, to)
    to, at = recipients.to, recipients.destination
    verdicts = tuple(_verdict(each, recipients, message) for each in candidates)
    subject = Subjects(env).task(at.domain, at.specificity, message.routing.priority)
    expired = message.expires_at is not None and time.time() >= message.expires_at
    # Only if nothing here has the name or capability: then it may be misspelt.
    known = [each.name for each in candidates]
    if to.agent is None:
        known = [capability for each in candidates for capability in each.capabilities]
    return Explanation(
        subject=subject,
        each=False,
        verdicts=verdicts,
        objection="it has expired" if expired else "",
        hint="" if (to.agent or to.domain) in known else did_you_mean(to.agent or to.domain, known),
    )


def explain_fact(
    fact: str, publisher: str, candidates: Iterable[Candidate], env: str
) -> Explanation:
    """The agents that receive a fact (`result.…` or `event.…`) of this publisher."""
    verdicts: list[Eligibility] = []
    for each in candidates:
        found = next((one for one in each.subscriptions if intersection(one, fact)), None)
        if found and each.name == publisher:
            verdicts.append(Eligibility(each.name, False, "published it itself"))
        elif found:
            verdicts.append(Eligibility(each.name, True, f"subscribes to `{found}`"))
        else:
            patterns = ", ".join(each.subscriptions) or "no facts"
            verdicts.append(Eligibility(each.name, False, f"subscribes to {patterns}"))
    return Explanation(Subjects(env).pattern(fact), True, tuple(verdicts))


def _verdict(each: Candidate, recipients: Recipients, message: AgentMessage) -> Eligibility:
    reasons = _reasons(each, recipients, message)
    if reasons:
        return Eligibility(each.name, False, "; ".join(reasons))
    why = f"has the capability `{recipients.to.domain}`"
    if recipients.to.agent:
        why = "the message is for it by name"
    elif recipients.needs_route:
        why = f"fits the requirement {recipients.requirement}"
    return Eligibility(each.name, True, f"{why} ({each.note})" if each.note else why)


def _reasons(each: Candidate, recipients: Recipients, message: AgentMessage) -> list[str]:
    """Every reason why an agent does not take a message."""
    objections = recipients.objections(each.name, each.capabilities)
    reasons = [objection.text for objection in objections]
    # A message for one agent: why each other agent does not take it is clear.
    if any(objection.code == "target" for objection in objections):
        return reasons
    hops = message.context.hops
    if each.max_hops is not None and hops > each.max_hops:
        reasons.append(f"the message has {hops} hops, but its limits.hops is {each.max_hops}")
    return [*reasons, *filter(None, [each.unavailable])]
