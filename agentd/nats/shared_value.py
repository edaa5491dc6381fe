"""One value on the server, which replicas share by compare-and-set."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from agentd.errors import BusError, Conflict, NotStored
from agentd.nats import jetstream
from agentd.nats.bus import Bus

_PATIENCE, _PAUSE = 10.0, 0.2  # seconds that the server may be away, and between two tries
_LOOK = 0.25  # seconds between two looks at what other replicas have settled


class Value(Protocol):
    """What can be shared; it is immutable."""

    def dump(self) -> bytes: ...


_Value = TypeVar("_Value", bound=Value)


class Shared(Generic[_Value]):
    """A value of one key of a bucket, as this process knows it. It is dropped `ttl` seconds after
    its last change."""

    def __init__(
        self, bus: Bus, stream: str, subject: str, *, parse: Callable[[bytes], _Value], ttl: int
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self._parse = parse
        self._headers = {"Nats-TTL": f"{ttl}s"}
        self._value: _Value | None = None
        self._sequence = 0
        self._looked = 0.0
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()

    async def change(self, edit: Callable[[_Value], _Value]) -> None:
        """Makes the value what `edit` makes of it, whoever else changes it meanwhile.

        `edit` may be called several times; what it raises passes through.

        Raises:
            BusError: the server was away for too long.
        """
        give_up = asyncio.get_running_loop().time() + _PATIENCE
        async with self._turn:
            while not await self._try(edit, give_up):
                self._value = None

    async def changed(self) -> None:
        """Returns when it may be another, by somebody else."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await self._news.wait()
        if asyncio.get_running_loop().time() - self._looked >= _LOOK:
            self._value = None

    async def _try(self, edit: Callable[[_Value], _Value], give_up: float) -> bool:
        """Whether the value is now what `edit` wants."""
        try:
            value = self._value or await self._look()
            wanted = edit(value)
            if wanted is not value:
                self._sequence = await jetstream.replace(
                    self._bus,
                    self._subject,
                    wanted.dump(),
                    after=self._sequence,
                    headers=self._headers,
                )
                self._value = wanted
                self._tell()
        except Conflict:
            return False  # another replica was faster
        except NotStored:
            raise
        except BusError:
            if asyncio.get_running_loop().time() >= give_up:
                raise
            await asyncio.sleep(_PAUSE)
            await self._bus.until_connected(give_up)
            return False
        return True

    async def _look(self) -> _Value:
        self._looked = asyncio.get_running_loop().time()
        self._sequence, data = await jetstream.newest(self._bus, self._stream, self._subject)
        self._value = self._parse(data)
        return self._value

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
