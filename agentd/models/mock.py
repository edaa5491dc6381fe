"""Models without a model: one tells what it was asked, one follows a script. No key, no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentd.models.failures import Failures
from agentd.models.mock_script import ScriptCase, Turn
from agentd.models.port import CORRECTION, ChatRequest, Completion, Usage
from agentd.models.prices import ListPrice
from agentd.protocol.media import in_words

GROUP = 3  # words in a streamed piece
TOLD, ASKED = 400, 1000  # characters that the echo repeats

OnDelta = Callable[[str], None]


class EchoModel:
    """Says what it was told and asked, so that an edit of a prompt shows in the answer."""

    name = "mock/echo"
    is_mock = True

    def __init__(self, *, price: ListPrice | None = None) -> None:
        self._price = price

    async def complete(self, request: ChatRequest, on_delta: OnDelta | None = None) -> Completion:
        """See `agentd.models.port.Model`."""
        told = _cut(_said(request.messages, "system"), TOLD)
        asked = _cut(_said(request.messages, "user"), ASKED)
        earlier = _earlier(request.messages)
        when = f", after {earlier} earlier messages" if earlier else ""
        turn = Turn(text=f'[mock/echo] I was told: "{told}" and asked{when}: "{asked}"')
        return await _play(turn, request, on_delta, Failures(self.name), self._price)

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return _cost(self._price, usage)

    async def close(self) -> None:
        """Nothing to close."""


class ScriptModel:
    """Plays the first case whose `match` is found in the last user turn.

    Which of its turns depends on the request alone: as many as there are assistant messages after
    the last user turn have been played. So it has no state, and many tasks can share it.
    """

    name = "mock/script"
    is_mock = True

    def __init__(
        self,
        cases: Sequence[ScriptCase],
        *,
        price: ListPrice | None = None,
        timeout: float | None = None,
    ) -> None:
        self._cases = cases
        self._price = price
        self._timeout = timeout
        self._failures = Failures(self.name)

    async def complete(self, request: ChatRequest, on_delta: OnDelta | None = None) -> Completion:
        """See `agentd.models.port.Model`."""
        turn = self._turn(request.messages)
        if self._timeout:
            request = replace(request, timeout=min(request.timeout, self._timeout))
        return await _play(turn, request, on_delta, self._failures, self._price)

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return _cost(self._price, usage)

    async def close(self) -> None:
        """Nothing to close."""

    def _turn(self, messages: Sequence[Mapping[str, Any]]) -> Turn:
        asked = _said(messages, "user")
        for case in self._cases:
            if case.match is None or case.match.search(asked):
                break
        else:
            what = f'no case of the script matches "{_cut(asked, 100)}"'
            raise self._failures.error("model_config", what)
        played = _played(messages)
        if played >= len(case.turns):
            what = f"the script has {len(case.turns)} turns for this, and was asked for one more"
            raise self._failures.error("model_config", what)
        return case.turns[played]


async def _play(
    turn: Turn,
    request: ChatRequest,
    on_delta: OnDelta | None,
    failures: Failures,
    price: ListPrice | None,
) -> Completion:
    async with failures.within(request.timeout):
        await asyncio.sleep(turn.latency)
        if on_delta:
            for piece in _pieces(turn):
                on_delta(piece)
                await asyncio.sleep(turn.interval)
    if turn.error is not None:
        error = turn.error
        raise failures.error(
            error.code, error.message, status=error.status, retry_after=error.retry_after
        )
    usage = turn.usage or _words(turn, request)
    return Completion(
        text=turn.text,
        model=failures.model,
        finish_reason="tool_calls" if turn.tool_calls else "stop",
        tool_calls=turn.tool_calls,
        usage=usage,
        cost=_cost(price, usage),
        reasoning=turn.reasoning,
    )


def _cost(price: ListPrice | None, usage: Usage) -> float:
    return price.cost(usage) if price else 0.0


def _said(messages: Sequence[Mapping[str, Any]], role: str) -> str:
    """The text of the last message of this role that is no correction of ours."""
    content = next(
        (m.get("content") for m in reversed(messages) if m.get("role") == role and not _ours(m)), ""
    )
    return in_words(content)


def _earlier(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many messages of the conversation come before the last user turn."""
    said = [message for message in messages if message.get("role") != "system"]
    users = (i for i, each in enumerate(said) if each.get("role") == "user" and not _ours(each))
    return max(users, default=0)


def _played(messages: Sequence[Mapping[str, Any]]) -> int:
    played = 0
    for message in reversed(messages):
        if message.get("role") == "user" and not _ours(message):
            break
        played += message.get("role") == "assistant"
    return played


def _ours(message: Mapping[str, Any]) -> bool:
    return str(message.get("content")).startswith(CORRECTION)


def _cut(text: str, most: int) -> str:
    """On one line, shortened; only as much of it is looked at as could be shown."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _pieces(turn: Turn) -> list[str]:
    """The text in `chunks` pieces, or a few words each. Joined they are the text."""
    words = turn.text.split(" ")
    words = [word + " " for word in words[:-1]] + words[-1:]
    size = max(1, -(-len(words) // turn.chunks)) if turn.chunks else GROUP
    pieces = ["".join(words[start : start + size]) for start in range(0, len(words), size)]
    return [piece for piece in pieces if piece]


def _words(turn: Turn, request: ChatRequest) -> Usage:
    told = sum(len(in_words(message.get("content")).split()) for message in request.messages)
    return Usage(told, len(turn.text.split()))
