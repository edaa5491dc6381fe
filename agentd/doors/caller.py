"""Who asks, and what they may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from agentd.doors.refusal import Refusal
from agentd.protocol.actor import Actor

# ask: send tasks, and cancel them; read: see tasks, results and agents; approve: decide on tool
# calls and answer questions; operate: everything that changes what others do.
Right = Literal["ask", "read", "approve", "operate"]
RIGHTS: frozenset[str] = frozenset(get_args(Right))
# What decides for others. A page of another origin may send requests from a browser here, though it
# cannot read the answers: these it may not send.
_DECIDES: frozenset[str] = frozenset({"approve", "operate"})


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and what they may.

    Attributes:
        name: the name of the key; `local` where no key is needed.
        may: some of `RIGHTS`.
        agents: the agents that the key is for; None for all.
        foreign: a browser sends the request for a page that is not ours.
    """

    name: str
    may: frozenset[str]
    agents: frozenset[str] | None = None
    foreign: bool = False

    def require(self, right: Right, *, agent: str | None = None) -> None:
        """Returns if the caller has the right, for this agent where one is given.

        Raises:
            Refusal: 403; the text says what is missing.
        """
        if right not in self.may:
            has = ", ".join(sorted(self.may)) or "nothing"
            raise _forbidden(f"{self.name!r} may not {right}: its key allows {has}")
        if self.foreign and right in _DECIDES:
            text = f"a page of another origin may not {right}: open the page of agentd itself"
            raise Refusal(403, "foreign_origin", text)
        if agent is not None and not self.reaches(agent):
            known = ", ".join(sorted(self.agents or ())) or "none"
            raise _forbidden(f"{self.name!r} may not use agent {agent!r}: its key is for {known}")

    @property
    def actor(self) -> Actor:
        """Who that is on record."""
        return Actor("http", self.name)

    def reaches(self, agent: str) -> bool:
        """Whether the key is for this agent."""
        return self.agents is None or agent in self.agents


LOCAL = Caller(name="local", may=RIGHTS)


def _forbidden(text: str) -> Refusal:
    return Refusal(403, "forbidden", text)
