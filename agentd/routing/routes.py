"""Routes for work that needs several capabilities, or that some agents must not do.

Such work goes to a subject of its own, `task._route.{signature}`, which exactly the eligible
agents pull. What a signature stands for is announced in a bucket.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agentd.errors import SubjectError, UsageError
from agentd.nats import jetstream
from agentd.nats.bus import Bus, Msg
from agentd.nats.streams import ROUTES
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import AGENT_DOMAIN, RESERVED_DOMAINS, ROUTE_DOMAIN, token

_BUCKET = "$KV." + ROUTES.removeprefix("KV_")


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


async def announce(bus: Bus, env: str, requirement: Requirement) -> None:
    """Tells every process what the requirement's signature stands for. Done when it is stored.

    Raises:
        BusError: it could not be stored.
    """
    subject = f"{_BUCKET}.{env}.{requirement.signature}"
    body = requirement._canonical()  # pyright: ignore[reportPrivateUsage]
    await jetstream.store(bus, subject, body, message_id=f"{env}.{requirement.signature}")


class RouteTable:
    """Every route announced in an environment; `on_change` is called when one is new."""

    def __init__(self, bus: Bus, env: str, on_change: Callable[[], None]) -> None:
        self._bus = bus
        self._env = env
        self._on_change = on_change
        self._known: dict[str, Requirement] = {}

    async def open(self) -> None:
        """Reads the routes there are, and hears of new ones from then on."""
        await self._bus.subscribe(f"{_BUCKET}.{self._env}.*", self._on_route)
        self._bus.on_reconnect(self._read)
        await self._read()

    def routes_for(self, agent: str, capabilities: Iterable[str]) -> list[str]:
        """The names of the routes that this agent may take work from."""
        held = set(capabilities)
        return [
            f"{ROUTE_DOMAIN}.{signature}"
            for signature, requirement in self._known.items()
            if requirement.met_by(agent, held)
        ]

    async def _read(self) -> None:
        async for msg in jetstream.stored(self._bus, ROUTES, f"{_BUCKET}.{self._env}.*"):
            await self._on_route(msg)

    async def _on_route(self, msg: Msg) -> None:
        if not msg.data:
            return
        raw = json.loads(msg.data)
        requirement = Requirement(tuple(raw["all"]), tuple(raw["not"]))
        if requirement.signature not in self._known:
            self._known[requirement.signature] = requirement
            self._on_change()
