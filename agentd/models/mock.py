"""Mock models, without key and network: one repeats its prompt, one follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentd.models.ending import accepted
from agentd.models.failures import Failures
from agentd.models.mock_script import ScriptCase, Turn
from agentd.models.port import CORRECTION, ChatRequest, Completion, Usage
from agentd.models.prices import ListPrice
from agentd.protocol.media import in_words

WORDS_A_PIECE = 3  # of a streamed answer
SYSTEM_SHOWN, USER_SHOWN = 400, 1000  # characters that the echo repeats

OnDelta = Callable[[str], None]


class EchoModel:
    """Repeats the system and the user message, so that an edit of a prompt shows in the answer."""

    name = "mock/echo"
    is_mock = True

    def __init__(self, *, price: ListPrice | None = None) -> None:
        self._price = price

    async def complete(self, request: ChatRequest, on_delta: OnDelta | None = None) -> Completion:
        """See `agentd.models.port.Model`."""
        system = _cut(_last_text(request.messages, "system"), SYSTEM_SHOWN)
        user = _cut(_last_text(request.messages, "user"), USER_SHOWN)
        earlier = _earlier(request.messages)
        when = f", after {earlier} earlier messages" if earlier else ""
        text = f'[mock/echo] I was told: "{system}" and asked{when}: "{user}"'
        if on_delta:
            await _stream(_pieces(text), on_delta)
        usage = _words(text, request)
        return Completion(text, self.name, "stop", usage=usage, cost=self.cost_of(usage))

    def cost_of(self, usage: Usage) -> float | None:
        """See `agentd.models.port.Model`."""
        return _cost(self._price, usage)


class ScriptModel:
    """Plays the first case whose `match` is found in the last user message.

    The request alone decides which turn of the case comes next: the assistant messages after the
    last user message are the turns that were played. So the model has no state, many tasks can
    share it, and a task that runs again gets the same answers.
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

    def _turn(self, messages: Sequence[Mapping[str, Any]]) -> Turn:
        user = _last_text(messages, "user")
        for case in self._cases:
            if case.match is None or case.match.search(user):
                break
        else:
            text = f'no case of the script matches "{_cut(user, 100)}"'
            raise self._failures.error("model_config", text, hint="add a case without `match`")
        played = _played(messages)
        if played >= len(case.turns):
            text = f"the script has {len(case.turns)} turns for this message, and all were played"
            raise self._failures.error("model_config", text, hint="add a turn to the script")
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
            await _stream(_pieces(turn.text, turn.chunks), on_delta, turn.interval)
    if turn.error is not None:
        error = turn.error
        raise failures.error(
            error.code, error.message, status=error.status, retry_after=error.retry_after
        )
    usage = turn.usage or _words(turn.text, request)
    completion = Completion(
        text=turn.text,
        model=failures.model,
        finish_reason=turn.finish_reason,
        tool_calls=turn.tool_calls,
        usage=usage,
        cost=_cost(price, usage),
        reasoning=turn.reasoning,
    )
    return accepted(completion, failures, parameters=request.parameters)


def _cost(price: ListPrice | None, usage: Usage) -> float:
    return price.cost(usage) if price else 0.0


async def _stream(pieces: Iterable[str], on_delta: OnDelta, interval: float = 0.0) -> None:
    for piece in pieces:
        on_delta(piece)
        await asyncio.sleep(interval)


def _last_text(messages: Sequence[Mapping[str, Any]], role: str) -> str:
    """The text of the last message of this role, corrections left out."""
    for message in reversed(messages):
        if message.get("role") == role and not _is_correction(message):
            return _said(message)
    return ""


def _said(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else in_words(content)


def _earlier(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many messages of the conversation come before the last user message."""
    talk = [message for message in messages if message.get("role") != "system"]
    users = (i for i, each in enumerate(talk) if _is_question(each))
    return max(users, default=0)


def _played(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many turns were played: the assistant messages after the last user message."""
    played = 0
    for message in reversed(messages):
        if _is_question(message):
            break
        played += message.get("role") == "assistant"
    return played


def _is_question(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "user" and not _is_correction(message)


def _is_correction(message: Mapping[str, Any]) -> bool:
    """Whether agentd wrote the message, because an answer did not fit its schema."""
    return str(message.get("content")).startswith(CORRECTION)


def _cut(text: str, most: int) -> str:
    """`text` on one line, shortened. Of a huge text, only the part that could be shown is read."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _pieces(text: str, chunks: int | None = None) -> list[str]:
    """The text in `chunks` pieces, or in pieces of a few words. Joined they are the text."""
    words = text.split(" ")
    words = [word + " " for word in words[:-1]] + words[-1:]
    size = max(1, -(-len(words) // chunks)) if chunks else WORDS_A_PIECE
    pieces = ["".join(words[start : start + size]) for start in range(0, len(words), size)]
    return [piece for piece in pieces if piece]


def _words(text: str, request: ChatRequest) -> Usage:
    """A usage in which each word is a token."""
    return Usage(sum(len(_said(each).split()) for each in request.messages), len(text.split()))
