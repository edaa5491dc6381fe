"""Answers given before: an identical request gets the same one, and nobody pays twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any, Protocol

from agentd.models.port import ChatRequest, Completion, ToolCall, Usage

MOST = 256 * 1024  # bytes of an answer that is worth keeping
# With any other reason to stop, the answer is cut off or withheld.
_WHOLE = ("stop", "tool_calls", "function_call")


class Shelf(Protocol):
    """Where answers are kept, for all replicas. What it cannot give or take is only not cached."""

    async def get(self, key: str, seconds: float) -> bytes | None:
        """What was kept in the last `seconds` under this key."""
        ...

    async def put(self, key: str, data: bytes, seconds: float) -> None:
        """Keeps `data` for so many seconds."""
        ...


class Cache:
    """The answers of one process's models; until it is given a shelf it keeps nothing."""

    def __init__(self) -> None:
        self._shelf: Shelf | None = None

    def share(self, shelf: Shelf) -> None:
        """From now on answers are kept on `shelf`."""
        self._shelf = shelf

    async def find(self, key: str, seconds: float) -> Completion | None:
        """The answer given under `key` in the last `seconds`; it costs nothing now."""
        data = await self._shelf.get(key, seconds) if self._shelf else None
        if data is None:
            return None
        kept: dict[str, Any] = json.loads(data)
        calls = tuple(ToolCall(**call) for call in kept.pop("tool_calls"))
        return Completion(**kept, tool_calls=calls, usage=Usage(0, 0), cost=0.0, cached=True)

    async def keep(self, key: str, completion: Completion, seconds: float) -> None:
        """Keeps an answer, if it is whole and not too large."""
        if self._shelf is None or completion.finish_reason not in _WHOLE:
            return
        kept = {
            "text": completion.text,
            "model": completion.model,
            "finish_reason": completion.finish_reason,
            "tool_calls": [asdict(call) for call in completion.tool_calls],
            "reasoning": completion.reasoning,
        }
        data = json.dumps(kept).encode()
        if len(data) <= MOST:
            await self._shelf.put(key, data, seconds)


def key_of(model: str, request: ChatRequest) -> str:
    """The same for identical requests to the same model, whoever makes them."""
    asked = [model, request.messages, request.parameters, request.tools, request.schema]
    text = json.dumps(asked, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """What a mapping or a sequence is, for JSON."""
    return dict(value) if hasattr(value, "keys") else list(value)
