"""Where a task goes, and the one rule for who may take it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from agentd.errors import SubjectError, UsageError
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import AGENT_DOMAIN, RESERVED_DOMAINS, ROUTE_DOMAIN, token

# The specificity of work for a capability as such.
ANY = "general"


@dataclass(frozen=True)
class Destination:
    """Where a task goes: a domain and a specificity, one agent, or the route of a requirement."""

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
            specificity = ANY
        try:
            return cls(token(domain, "domain"), token(specificity, "specificity"))
        except SubjectError:
            raise UsageError(
                f"{target!r} is no target: name a capability (analysis), a domain and a "
                "specificity (analysis.sentiment), or an agent (@analyst)"
            ) from None

    @property
    def agent(self) -> str | None:
        """The name of the agent that it is, if it is one."""
        return self.specificity if self.domain == AGENT_DOMAIN else None

    def __str__(self) -> str:
        return f"@{self.agent}" if self.agent else f"{self.domain}.{self.specificity}"


@dataclass(frozen=True)
class Requirement:
    """What an agent must be able to do, all of it, and who must not do it; both sorted."""

    capabilities: tuple[str, ...]
    exclusions: tuple[str, ...] = ()

    @classmethod
    def of(cls, message: AgentMessage, domain: str) -> Requirement | None:
        """What `message`, sent to `domain`, asks for beyond its subject; None if nothing."""
        routing = message.routing
        own = () if domain in RESERVED_DOMAINS else (domain,)
        capabilities = tuple(sorted({*routing.capabilities, *own}))
        exclusions = tuple(sorted(set(routing.exclusions)))
        if not exclusions and set(capabilities) <= set(own):
            return None
        return cls(capabilities, exclusions)

    @property
    def destination(self) -> Destination:
        """Where work with this requirement goes."""
        return Destination(ROUTE_DOMAIN, self.signature)

    @property
    def signature(self) -> str:
        """The subject token of this requirement."""
        return hashlib.sha256(self._canonical()).hexdigest()[:12]

    def met_by(self, agent: str, capabilities: Iterable[str]) -> bool:
        """Whether this agent may do the work."""
        return agent not in self.exclusions and set(self.capabilities) <= set(capabilities)

    def __str__(self) -> str:
        but = f", but not {' or '.join(self.exclusions)}" if self.exclusions else ""
        return f"{' and '.join(self.capabilities) or 'anything'}{but}"

    def _canonical(self) -> bytes:
        return json.dumps({"all": self.capabilities, "not": self.exclusions}).encode()
