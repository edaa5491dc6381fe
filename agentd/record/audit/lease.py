"""A lease: of all processes of an environment, one keeps the tree."""

from __future__ import annotations

from agentd.errors import BusError, Conflict
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.streams import RATES
from agentd.protocol.server_subjects import bucket

_SECONDS = 5  # that it is held without a renewal: so long the tree stands when its keeper dies


class Lease:
    """The lease as one process sees it. It only avoids work that is done twice: a process that has
    lost its lease and does not know it is refused when it stores a step."""

    def __init__(self, bus: Bus, env: str, holder: str) -> None:
        self._bus = bus
        # In memory, beside other things that replicas share. A server that restarts loses it.
        self._subject = bucket(RATES, env, "audit", "lease")
        self._holder = holder.encode()
        self._sequence = 0

    async def hold(self) -> bool:
        """Takes or renews the lease; whether this process has it now.

        Raises:
            BusError: the server does not answer.
        """
        try:
            if not self._sequence:
                # What has expired leaves an empty message, or none.
                self._sequence, held_by = await jetstream.newest(self._bus, RATES, self._subject)
                if held_by not in (b"", self._holder):
                    self._sequence = 0
                    return False
            await self._write(self._holder, _SECONDS)
        except Conflict:
            self._sequence = 0
            return False
        return True

    async def release(self) -> None:
        """Lets another process take it at once."""
        if self._sequence:
            try:
                await self._write(b"", 1)
            except BusError:
                return  # it expires by itself
            finally:
                self._sequence = 0

    async def _write(self, holder: bytes, seconds: int) -> None:
        self._sequence = await jetstream.replace(
            self._bus,
            self._subject,
            holder,
            after=self._sequence,
            headers={"Nats-TTL": f"{seconds}s"},
        )
