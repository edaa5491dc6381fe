"""One value in a bucket for all replicas: changed by compare-and-set, or a secret that stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from agentd.errors import BusError, Conflict, DecodeError, NotStored
from agentd.nats import jetstream
from agentd.nats.bus import Bus
from agentd.nats.records import skipped
from agentd.nats.streams import JOINS, LOG
from agentd.protocol.server_subjects import bucket
from agentd.protocol.shape import Shape
from agentd.protocol.subjects import digest

_PATIENCE, _PAUSE = 10.0, 0.2  # seconds that the server may be unreachable, and between two tries
_STALE = 0.25  # seconds after which the value is read again, because other replicas change it too


class Value(Protocol):
    """An immutable value, with the bytes that are stored for it."""

    def dump(self) -> bytes: ...


_Value = TypeVar("_Value", bound=Value)


class Shared(Generic[_Value]):
    """The value of one key of a bucket, as this process knows it.

    Several tasks of the process may use one instance. The server deletes the key `ttl` seconds
    after the last change; `parse` then gets empty bytes.
    """

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
        self._read_at = 0.0
        # One change at a time in this process: with many, each would lose against the others.
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()

    async def change(self, edit: Callable[[_Value], _Value]) -> None:
        """Replaces the value by `edit(value)`, even if other replicas change it at the same time.

        `edit` is called again with the new value when another replica was faster, so it must not
        have effects. If it returns the same object, nothing is stored. Its errors pass through.

        Raises:
            BusError: the server was unreachable for ten seconds.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        async with self._changing:
            while not await self._try(edit, deadline):
                self._value = None  # what this process knows is outdated, or may be

    async def changed(self) -> None:
        """Returns when the value may have changed, here or in another replica.

        Other replicas do not announce a change, so this returns after a quarter of a second at
        the latest, and the next `change` reads the value again.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STALE):
                await self._changed.wait()
        if asyncio.get_running_loop().time() - self._read_at >= _STALE:
            self._value = None

    async def _try(self, edit: Callable[[_Value], _Value], deadline: float) -> bool:
        """Whether the value is now the one that `edit` returned."""
        try:
            value = self._value or await self._read()
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
                self._wake_waiting()
        except Conflict:
            return False  # another replica was faster
        except NotStored:
            raise
        except BusError:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            # The change may have been stored. The next try reads the value first, so `edit` must
            # see by itself whether its change is in it.
            await asyncio.sleep(_PAUSE)
            await self._bus.until_connected(deadline)
            return False
        return True

    async def _read(self) -> _Value:
        self._read_at = asyncio.get_running_loop().time()
        self._sequence, data = await jetstream.newest(self._bus, self._stream, self._subject)
        try:
            self._value = self._parse(data)
        except Exception as error:  # noqa: BLE001 - anyone may have written it
            # The next change replaces it. Nothing could use the value as long as it stays.
            skipped(self._stream, self._subject, error, self._sequence)
            self._value = self._parse(b"")
        return self._value

    def _wake_waiting(self) -> None:
        """Wakes those who wait in `changed` now, but not those who come later."""
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(frozen=True)
class _Stored:
    """A secret, and the last sequence of the log when it was made."""

    secret: str
    since: int


_stored: Shape[_Stored] = Shape(_Stored, most=1024)


class Secret:
    """The secret of one environment: what its replicas derive from it is the same, and nobody can
    guess it. Until it is read, ids are derived without it.

    A client that guessed the id of a message that agentd will store could use it first, and the
    answer to its own message would count as that of agentd's.
    """

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
                try:
                    stored = _stored.parse(found)
                except DecodeError as error:
                    # Anyone may have written it. No process could start as long as it stays.
                    skipped(JOINS, subject, error, sequence)
                else:
                    self._text, self._since = stored.secret, stored.since
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
        return text if self.is_newer_than(sequence) else self.digest(text)

    def is_newer_than(self, sequence: int) -> bool:
        """Whether the log held the message with this sequence before there was a secret."""
        return sequence <= self._since
