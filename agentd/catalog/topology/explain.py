"""Explains who would take a message, and why each of the others would not; delivers nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentd.catalog.topology.flow import Topology
from agentd.catalog.topology.members import meeting
from agentd.manifest.diagnose import did_you_mean
from agentd.protocol.destination import Destination, Requirement
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import AGENT_DOMAIN, Subjects


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
    requirement = Requirement.of(message, to.domain)
    if message.target is not None:
        to = Destination(AGENT_DOMAIN, message.target)
    verdicts = tuple(_verdict(each, to, requirement, message) for each in candidates)
    at = requirement.destination if requirement is not None and to.agent is None else to
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
    return Explanation(f"agents.{env}.{fact}", True, tuple(verdicts))


def _verdict(
    each: Candidate, to: Destination, requirement: Requirement | None, message: AgentMessage
) -> Eligibility:
    reasons = _reasons(each, to, requirement, message)
    if reasons:
        return Eligibility(each.name, False, "; ".join(reasons))
    why = "it is named" if to.agent else f"has the capability `{to.domain}`"
    if requirement is not None and not to.agent:
        why = f"is fit for {requirement}"
    return Eligibility(each.name, True, f"{why} ({each.note})" if each.note else why)


def _reasons(
    each: Candidate, to: Destination, requirement: Requirement | None, message: AgentMessage
) -> list[str]:
    """All that keeps an agent from it."""
    if to.agent is not None and to.agent != each.name:
        return [f"it is for @{to.agent} alone"]
    reasons: list[str] = []
    needed = requirement.capabilities if requirement else () if to.agent else (to.domain,)
    lacking = [f"`{capability}`" for capability in needed if capability not in each.capabilities]
    if lacking:
        held = " ".join(each.capabilities) or "none"
        reasons.append(f"lacks the capability {' and '.join(lacking)} (has {held})")
    if each.name in message.routing.exclusions:
        reasons.append("the message excludes it")
    if message.context.path and message.context.path[-1] == each.name:
        reasons.append("has just handed it on itself")
    if each.hops is not None and message.context.hops > each.hops:
        reasons.append(f"handed on {message.context.hops} times, its limits.hops is {each.hops}")
    return [*reasons, *filter(None, [each.trouble])]
