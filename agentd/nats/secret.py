"""A secret of an environment: what replicas derive from it is the same, and nobody can guess it.

A client that guessed the id of a message that agentd will store could use it first, and the answer
to its own message would count as that of agentd's.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from agentd.errors import Conflict
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import JOINS, LOG
from agentd.protocol.server_subjects import bucket
from agentd.protocol.subjects import digest


class Secret:
    """The secret of one environment. Until it is read, ids are derived without it."""

    def __init__(self) -> None:
        self._text = ""
        self._since = 0

    async def read(self, bus: Bus, env: str) -> None:
        """Reads the secret. If the server has none, or has lost it, this process stores its own.

        Raises:
            BusError: the server does not answer.
        """
        # Two tokens: the name of a join, which a stranger may choose, is one.
        subject = bucket(JOINS, env, "secret", "ids")
        while True:
            sequence, found = await jetstream.newest(bus, JOINS, subject)
            if found:
                stored: dict[str, Any] = json.loads(found)
                self._text, self._since = stored["secret"], stored["since"]
                return
            own = json.dumps(await self._own(bus)).encode()
            try:
                await jetstream.replace(bus, subject, own, after=sequence)
            except Conflict:
                continue

    async def _own(self, bus: Bus) -> dict[str, Any]:
        if self._text:
            return {"secret": self._text, "since": self._since}
        log = await jetstream.api(bus, f"STREAM.INFO.{LOG}")
        return {"secret": secrets.token_hex(16), "since": log["state"]["last_seq"]}

    def digest(self, text: str) -> str:
        """A token for any text, which only the replicas of the environment can derive."""
        return digest(f"{self._text} {text}" if self._text else text)

    def identify(self, text: str, sequence: int) -> str:
        """`digest`, for what follows from the message with this sequence in LOG. What the log held
        before there was a secret keeps its ids: an older agentd may have begun to work on it."""
        return self.digest(text) if sequence > self._since else text
