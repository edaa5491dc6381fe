"""One conversation's account on the server, which replicas share by compare-and-set."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from agentd import jetstream
from agentd.account import Account
from agentd.bus import Bus
from agentd.errors import BusError, Conflict, NotStored
from agentd.streams import BUDGETS
from agentd.subjects import digest

_BUCKET = "$KV." + BUDGETS.removeprefix("KV_")
_FORGET = 30 * 86400  # seconds without a call until a conversation's account is dropped
_PATIENCE = 10.0  # seconds that the server may be away
_LOOK = 0.25  # seconds between two looks at what other replicas have settled


def key(env: str, conversation: str) -> str:
    """The subject of a conversation's account."""
    return f"{_BUCKET}.{env}.{digest(conversation)}"


class Ledger:
    """One account, as this process knows it."""

    def __init__(self, bus: Bus, subject: str) -> None:
        self._bus = bus
        self._subject = subject
        self._account: Account | None = None
        self._sequence = 0
        self._looked = 0.0
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()

    async def change(self, edit: Callable[[Account], Account]) -> None:
        """Makes the account what `edit` makes of it, whoever else changes it meanwhile.

        `edit` may be called several times; what it raises passes through.

        Raises:
            BusError: the server was away for too long.
        """
        give_up = asyncio.get_running_loop().time() + _PATIENCE
        async with self._turn:
            while not await self._try(edit, give_up):
                self._account = None

    async def changed(self) -> None:
        """Returns when there may be more in the account."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await self._news.wait()
        if asyncio.get_running_loop().time() - self._looked >= _LOOK:
            self._account = None

    async def _try(self, edit: Callable[[Account], Account], give_up: float) -> bool:
        """Whether the account is now what `edit` wants."""
        try:
            account = self._account or await self._look()
            wanted = edit(account)
            if wanted is not account:
                headers = {"Nats-TTL": f"{_FORGET}s"}
                self._sequence = await jetstream.replace(
                    self._bus, self._subject, wanted.dump(), after=self._sequence, headers=headers
                )
                self._account = wanted
                self._tell()
        except Conflict:
            return False  # another replica was faster
        except NotStored:
            raise
        except BusError:
            if asyncio.get_running_loop().time() >= give_up:
                raise
            await self._bus.until_connected(give_up)
            return False
        return True

    async def _look(self) -> Account:
        self._looked = asyncio.get_running_loop().time()
        self._sequence, data = await jetstream.newest(self._bus, BUDGETS, self._subject)
        self._account = Account.parse(data)
        return self._account

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
