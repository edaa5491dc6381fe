"""Who did something that is on record: the field `by` of an event."""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Actor:
    """Who did something.

    Attributes:
        kind: `cli`: a person at a command line; `http`: who holds a key; `message`: who sent a
            message on NATS that asks for it, which any client can.
        name: the user and the machine, the name of the key, or the source of the message.
    """

    kind: Literal["cli", "http", "message"]
    name: str

    def as_json(self) -> dict[str, str]:
        """`{"kind", "name"}`, as in `by`."""
        return {"kind": self.kind, "name": self.name}


def person(name: str | None = None) -> Actor:
    """The person at this command line, who may give another name."""
    return Actor("cli", name or f"{_login()}@{socket.gethostname()}")


def named_by(actor: Actor | None) -> dict[str, Any]:
    """The field `by` of an event; none if nobody is known."""
    return {"by": actor.as_json()} if actor else {}


def name_in(content: Any) -> str:
    """The name in the field `by` of a content; "" if there is none. Any client may write one, and
    an older agentd wrote the name alone."""
    match content:
        case {"by": str(name)} | {"by": {"name": str(name)}}:
            return name
        case _:
            return ""


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user without a name
        return "somebody"
