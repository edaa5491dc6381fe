"""Explains who would take a message, and why each of the others would not; delivers nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import meeting
from agentd.manifest.diagnose import did_you_mean
from agentd.protocol.destination import Destination, Recipients
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import Subjects


@dataclass(frozen=True)
class Candidate:
    """An agent that could take a message: `hears` are patterns of facts, `hops` its limit where it
    is known; `trouble` says why it takes nothing now, `note` what else is worth knowing."""

    name: str
    capabilities: tuple[str, ...]
    hears: tuple[str, ...] = ()
    hops: int | None = None
    trouble: str = ""
    note: str = ""


@dataclass(frozen=True)
class Eligibility:
    """Whether an agent takes the message, and why."""

    agent: str
    takes: bool
    why: str


@dataclass(frozen=True)
class Explanation:
    """Where a message goes: the subject, one of those who take it (or each), and all verdicts.

    `objection` says why it is not run whoever takes it; `hint` what may have been meant.
    """

    subject: str
    each: bool
    verdicts: tuple[Eligibility, ...]
    objection: str = ""
    hint: str = ""

    @property
    def takers(self) -> list[str]:
        return [verdict.agent for verdict in self.verdicts if verdict.takes]


def of_files(topology: Topology) -> list[Candidate]:
    """The agents of a folder."""
    return [
        Candidate(
            name=name,
            capabilities=member.manifest.capabilities,
            hears=tuple(subscription.pattern for subscription in topology.subscriptions[name]),
            hops=member.manifest.limits.hops,
        )
        for name, member in topology.agents.items()
    ]


def explain_task(
    to: Destination, message: AgentMessage, candidates: Sequence[Candidate], env: str
) -> Explanation:
    """Who takes a task that is sent there."""
    recipients = Recipients.of(message, to)
    to, at = recipients.to, recipients.destination
    verdicts = tuple(_verdict(each, recipients, message) for each in candidates)
    subject = Subjects(env).task(at.domain, at.specificity, message.routing.priority)
    late = message.expires_at is not None and time.time() >= message.expires_at
    known = [each.name for each in candidates]
    if to.agent is None:
        known = [capability for each in candidates for capability in each.capabilities]
    return Explanation(
        subject=subject,
        each=False,
        verdicts=verdicts,
        objection="it has expired" if late else "",
        hint="" if (to.agent or to.domain) in known else did_you_mean(to.agent or to.domain, known),
    )


def explain_fact(fact: str, speaker: str, candidates: Iterable[Candidate], env: str) -> Explanation:
    """Who hears of `result.…` or `event.…`; each of them gets it."""
    verdicts: list[Eligibility] = []
    for each in candidates:
        heard = next((pattern for pattern in each.hears if meeting(pattern, fact)), None)
        if heard and each.name == speaker:
            verdicts.append(Eligibility(each.name, False, "said it itself"))
        elif heard:
            verdicts.append(Eligibility(each.name, True, f"hears of `{heard}`"))
        else:
            what = ", ".join(each.hears) or "nothing"
            verdicts.append(Eligibility(each.name, False, f"hears of {what}"))
    return Explanation(Subjects(env).pattern(fact), True, tuple(verdicts))


def _verdict(each: Candidate, recipients: Recipients, message: AgentMessage) -> Eligibility:
    reasons = _reasons(each, recipients, message)
    if reasons:
        return Eligibility(each.name, False, "; ".join(reasons))
    why = f"has the capability `{recipients.to.domain}`"
    if recipients.to.agent:
        why = "it is named"
    elif recipients.needs_route:
        why = f"fits the requirement {recipients.requirement}"
    return Eligibility(each.name, True, f"{why} ({each.note})" if each.note else why)


def _reasons(each: Candidate, recipients: Recipients, message: AgentMessage) -> list[str]:
    """Every reason why an agent does not take a message."""
    objections = recipients.objections(each.name, each.capabilities)
    reasons = [objection.text for objection in objections]
    if any(objection.code == "target" for objection in objections):
        return reasons
    if each.hops is not None and message.context.hops > each.hops:
        reasons.append(f"passed on {message.context.hops} times, its limits.hops is {each.hops}")
    return [*reasons, *filter(None, [each.trouble])]
