"""The cache of answers: an identical request gets the stored answer, which costs nothing."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, replace
from typing import Any, Protocol

from agentd.errors import DecodeError
from agentd.models.port import RECORDED, ChatRequest, Completion, Usage

log = logging.getLogger(__name__)

LARGEST = 256 * 1024  # bytes of an answer that is stored


class CacheStore(Protocol):
    """Where answers are stored, for all replicas.

    A store never raises: a cache that does not work only means that a call is paid.
    """

    async def get(self, key: str, seconds: float) -> bytes | None:
        """What was stored under this key in the last `seconds`."""
        ...

    async def put(self, key: str, data: bytes, seconds: float) -> None:
        """Stores `data` for so many seconds."""
        ...


class Cache:
    """The answers of one process's models. Without a store it keeps nothing."""

    def __init__(self) -> None:
        self._store: CacheStore | None = None

    def share(self, store: CacheStore) -> None:
        """Stores answers in `store` from now on."""
        self._store = store

    async def find(self, key: str, seconds: float) -> Completion | None:
        """The answer stored under `key` in the last `seconds`, with no usage and no cost."""
        data = await self._store.get(key, seconds) if self._store else None
        if data is None:
            return None
        try:
            kept = RECORDED.parse(data)
        except DecodeError as error:
            log.warning("the cached answer %s is not used: %s", key, error)
            return None
        return replace(kept, usage=Usage(0, 0), cost=0.0, cached=True, attempts=())

    async def keep(self, key: str, completion: Completion, seconds: float) -> None:
        """Stores an answer, if it is not cut off and not larger than `LARGEST`."""
        if self._store is None or completion.cut:
            return
        kept = {
            "text": completion.text,
            "model": completion.model,
            "finish_reason": completion.finish_reason,
            "tool_calls": [asdict(call) for call in completion.tool_calls],
            "reasoning": completion.reasoning,
        }
        data = json.dumps(kept).encode()
        if len(data) <= LARGEST:
            await self._store.put(key, data, seconds)


def key_of(model: str, request: ChatRequest) -> str:
    """A digest of everything that decides the answer: the same for identical requests.

    The agent, the timeout and the like are left out: agents share answers.
    """
    content = [model, request.messages, request.parameters, request.tools, request.schema]
    text = json.dumps(content, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A mapping or sequence of another type as one that `json` takes."""
    return dict(value) if hasattr(value, "keys") else list(value)
