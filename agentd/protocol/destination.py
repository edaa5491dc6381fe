"""Where a task goes, and the one rule for who may take it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from agentd.errors import DecodeError, SubjectError, UsageError
from agentd.protocol.fields import Tokens
from agentd.protocol.message import AgentMessage
from agentd.protocol.shape import Shape
from agentd.protocol.subjects import AGENT_DOMAIN, ROUTE_DOMAIN, token

# The specificity of work for a capability as such.
GENERAL = "general"

_requirement: Shape[dict[str, tuple[str, ...]]] = Shape(dict[str, Tokens], most=64 * 1024)


@dataclass(frozen=True)
class Destination:
    """A domain and a specificity, one agent, or the route of a requirement."""

    domain: str
    specificity: str

    @classmethod
    def parse(cls, target: str) -> Destination:
        """`@agent`, `domain.specificity`, or a capability (`domain`).

        Raises:
            UsageError: it is none of these.
        """
        domain, dot, specificity = target.partition(".")
        if target.startswith("@"):
            domain, specificity = AGENT_DOMAIN, target[1:]
        elif not dot:
            specificity = GENERAL
        try:
            return cls(token(domain, "domain"), token(specificity, "specificity"))
        except SubjectError:
            raise UsageError(
                f"{target!r} is no target: name a capability (analysis), a domain and a "
                "specificity (analysis.sentiment), or an agent (@analyst)"
            ) from None

    @property
    def agent(self) -> str | None:
        """The agent that this is, if it is one agent."""
        return self.specificity if self.domain == AGENT_DOMAIN else None

    def __str__(self) -> str:
        return f"@{self.agent}" if self.agent else f"{self.domain}.{self.specificity}"


@dataclass(frozen=True)
class Requirement:
    """The capabilities that an agent must have, all of them, and the agents that are excluded;
    both sorted."""

    capabilities: tuple[str, ...]
    exclusions: tuple[str, ...] = ()

    @property
    def destination(self) -> Destination:
        """The route of this requirement."""
        return Destination(ROUTE_DOMAIN, self.signature)

    @property
    def signature(self) -> str:
        """The subject token of this requirement."""
        return hashlib.sha256(self.canonical()).hexdigest()[:12]

    @classmethod
    def parse(cls, data: bytes) -> Requirement:
        """The requirement whose `canonical` this is.

        Raises:
            DecodeError: it is none.
        """
        match _requirement.parse(data):
            case {"all": capabilities, "not": exclusions}:
                return cls(capabilities, exclusions)
            case _:
                raise DecodeError("it has no `all` and `not`")

    def canonical(self) -> bytes:
        """The JSON that is digested into the signature, `{"all": [...], "not": [...]}`."""
        return json.dumps({"all": self.capabilities, "not": self.exclusions}).encode()

    def met_by(self, agent: str, capabilities: Iterable[str]) -> bool:
        """Whether this agent may do the work."""
        return agent not in self.exclusions and not self.lacking(capabilities)

    def lacking(self, capabilities: Iterable[str]) -> list[str]:
        """The required capabilities that are not among these."""
        held = set(capabilities)
        return [each for each in self.capabilities if each not in held]

    def __str__(self) -> str:
        but = f", but not {' or '.join(self.exclusions)}" if self.exclusions else ""
        return f"{' and '.join(self.capabilities) or 'anything'}{but}"


@dataclass(frozen=True)
class Objection:
    """A reason why an agent may not take a message. `loop`: it passed the message on itself."""

    code: Literal["target", "excluded", "capabilities", "loop"]
    text: str


@dataclass(frozen=True)
class Recipients:
    """The agents that may take a task: the one rule for senders, routes, admission, `agentd route`
    and the checks of a topology.

    Attributes:
        to: where the task is sent, before its requirement gives it a route.
        requirement: what an agent must have, the domain of `to` included. A task for one agent
            (`target`) needs no capability but those that the message names: the name is enough.
        passed_on_by: the agent that emitted the task. It may not take the task back.
    """

    to: Destination
    requirement: Requirement
    passed_on_by: str | None = None

    @classmethod
    def of(cls, message: AgentMessage, to: Destination) -> Recipients:
        """The recipients of a message that is sent `to` a destination."""
        path = message.context.path
        return cls.among(
            to,
            target=message.target,
            capabilities=message.routing.capabilities,
            exclusions=message.routing.exclusions,
            passed_on_by=path[-1] if path else None,
        )

    @classmethod
    def among(
        cls,
        to: Destination,
        *,
        target: str | None = None,
        capabilities: Iterable[str] = (),
        exclusions: Iterable[str] = (),
        passed_on_by: str | None = None,
    ) -> Recipients:
        """The recipients of whatever has these fields: a message, or a rule that will emit one."""
        if target is not None:
            to = Destination(AGENT_DOMAIN, target)
        needed, excluded = set(capabilities), set(exclusions)
        # On a route, the message repeats what the signature stands for. A message that does not
        # needs the capability `_route`, which no agent has: any agent would fit it otherwise.
        if to.agent is None and not (to.domain == ROUTE_DOMAIN and (needed or excluded)):
            needed.add(to.domain)
        requirement = Requirement(tuple(sorted(needed)), tuple(sorted(excluded)))
        return cls(to, requirement, passed_on_by)

    @property
    def needs_route(self) -> bool:
        """Whether the subject of `to` says too little: other agents than the recipients pull it."""
        required = self.requirement
        if self.to.agent is not None:
            return False
        return bool(required.exclusions) or required.capabilities != (self.to.domain,)

    @property
    def destination(self) -> Destination:
        """Where exactly the task goes, so that only its recipients pull it."""
        return self.requirement.destination if self.needs_route else self.to

    def include(self, agent: str, capabilities: Collection[str]) -> bool:
        """Whether the agent of this name, with these capabilities, may take the task."""
        return (
            self.to.agent in (None, agent)
            and self.requirement.met_by(agent, capabilities)
            and agent != self.passed_on_by
        )

    def objections(self, agent: str, capabilities: Collection[str]) -> list[Objection]:
        """Every reason why this agent may not take the task; none where `include` is true."""
        if self.to.agent not in (None, agent):
            return [Objection("target", f"the message is for @{self.to.agent} only")]
        found: list[Objection] = []
        if lacking := self.requirement.lacking(capabilities):
            missing = " and ".join(f"`{each}`" for each in lacking)
            held = " ".join(capabilities) or "none"
            found.append(Objection("capabilities", f"lacks the capability {missing} (has {held})"))
        if agent in self.requirement.exclusions:
            found.append(Objection("excluded", "the message excludes it"))
        if agent == self.passed_on_by:
            found.append(Objection("loop", "it emitted the message itself"))
        return found

    def __str__(self) -> str:
        """As an error names them: `analysis.general`, `@writer`, with the requirement, if any."""
        more = self.needs_route or (self.to.agent and self.requirement != Requirement(()))
        return f"{self.to} ({self.requirement})" if more else str(self.to)
