"""A secret of an environment: what replicas derive from it is the same, and nobody can guess it.

A client that guessed the id of a message that agentd will store could use it first, and the answer
to its own message would count as that of agentd's.
"""

from __future__ import annotations

import secrets

from agentd.errors import Conflict
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import JOINS
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import digest


class Secret:
    """The secret of one environment. Until it is read, ids are derived without it."""

    def __init__(self) -> None:
        self._text = ""

    async def read(self, bus: Bus, env: str) -> None:
        """Reads the secret. If the server has none, or has lost it, this process stores its own.

        Raises:
            BusError: the server does not answer.
        """
        subject = bucket(JOINS, env, "_secret")
        while True:
            sequence, found = await jetstream.newest(bus, JOINS, subject)
            if found:
                self._text = found.decode()
                return
            own = self._text or secrets.token_hex(16)
            try:
                await jetstream.replace(bus, subject, own.encode(), after=sequence)
            except Conflict:
                continue

    def digest(self, text: str) -> str:
        """A token for any text, which only the replicas of the environment can derive."""
        return digest(f"{self._text} {text}" if self._text else text)
