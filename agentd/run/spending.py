"""What the model calls of a task used, and each of them as it goes on record.

Tokens and money are unknown, never 0, if those of one call are. `docs/record.md` has the fields of
a call on record; `agentd.record.calls` reads it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agentd.errors import AgentdError, ModelError
from agentd.models.port import ChatRequest, Completion, ModelAttempt, Usage

_NOTHING = Usage(0, 0)
_LONGEST_ERROR = 2_000  # characters of an error in a call on record


@dataclass
class Spent:
    """The sum of some model calls. `usage` and `cost` (USD) are None if not known."""

    calls: int = 0
    usage: Usage | None = _NOTHING
    cost: float | None = 0.0

    def add(self, usage: Usage | None, cost: float | None, *, calls: int = 1) -> None:
        """Adds one call, or the sum of several."""
        self.calls += calls
        self.usage = self.usage + usage if self.usage and usage else None
        known = self.cost is not None and cost is not None
        self.cost = math.fsum((self.cost or 0.0, cost or 0.0)) if known else None


@dataclass(frozen=True)
class Spending:
    """What one delivery of a task has used.

    `here` is what it has called itself, `before` the turns that an earlier delivery has recorded.
    """

    here: Spent = field(default_factory=Spent)
    before: Spent = field(default_factory=Spent)

    @property
    def total(self) -> Spent:
        """Both together."""
        if not self.before.calls:
            return self.here
        total = replace(self.here)
        total.add(self.before.usage, self.before.cost, calls=self.before.calls)
        return total

    def called(self, completion: Completion) -> None:
        """Adds a call that was answered, with the attempts that failed before."""
        _add(self.here, completion)

    def failed(self, error: BaseException) -> None:
        """Adds a call that failed, if the provider may have answered it. One that was cancelled
        may have been answered too."""
        if isinstance(error, ModelError) and error.may_cost:
            self.here.add(error.usage, error.cost if error.usage else None)
        elif not isinstance(error, AgentdError):
            self.here.add(None, None)

    def recorded(self, completion: Completion) -> None:
        """Adds a turn from the journal."""
        _add(self.before, completion)


def _add(spent: Spent, completion: Completion) -> None:
    spent.add(completion.usage, completion.cost)
    for attempt in completion.attempts:
        if attempt.answered:
            # What is known of the cost without tokens is an estimate.
            spent.add(attempt.usage, attempt.cost if attempt.usage else None)


@dataclass(kw_only=True, eq=False, slots=True)
class ModelCall:
    """One call of a model, made by a run.

    Attributes:
        name: of the model that was asked; of several, the first.
        seconds: the whole call, with its attempts.
        first_chunk: seconds until the first piece of a streamed answer.
        attempts: each with the name of the endpoint and the parameters that it was sent to it; ""
            if no endpoint was called.
        answer: the completion, or the error.
    """

    name: str
    request: ChatRequest
    seconds: float
    first_chunk: float | None
    attempts: Sequence[tuple[ModelAttempt, str, Mapping[str, Any]]]
    answer: Completion | ModelError


class CallLog:
    """The model calls of one delivery that are not on record yet.

    They are stored with what is stored anyway: a turn, a failed attempt, the result. So each call
    says only what is not on record by then. `record` is that of the manifest: with `digests`,
    contents stay out; with `off` (not `is_on`), nobody adds a call.
    """

    def __init__(self, record: Literal["full", "digests", "off"] = "full") -> None:
        self.turn = 1
        self.is_on = record != "off"
        self._digests = record == "digests"
        self._made: list[ModelCall] = []
        self._previous: Sequence[Mapping[str, Any]] = ()
        # By the id of a message, which is kept: an id of one that is gone could be used again.
        self._elsewhere: dict[int, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}

    def add(self, call: ModelCall) -> None:
        """Adds a call that has ended."""
        self._made.append(call)

    def elsewhere(self, message: Mapping[str, Any], **place: Any) -> None:
        """Notes that the content of a message is on record in another `place`: in the `task`, as a
        `turn`, or as the answer of a call in it."""
        self._elsewhere[id(message)] = message, place

    def take(self, *, answered: bool) -> dict[str, Any]:
        """The calls for the record, which does not ask for them again: the last one, and those
        before it. Nothing if there are none. `answered` says that the record has the answer too."""
        if not self._made:
            return {}
        *earlier, last = self._made
        self._made = []
        before = [self._content(call, text=True) for call in earlier]
        recorded: dict[str, Any] = {"call": self._content(last, text=not answered)}
        if before:
            recorded["earlier"] = before
        return recorded

    def _content(self, call: ModelCall, *, text: bool) -> dict[str, Any]:
        request = call.request
        _, endpoint, parameters = call.attempts[-1]
        after = _common(self._previous, request.messages) if self._previous else 0
        self._previous = request.messages
        content: dict[str, Any] = {"model": call.name}
        if endpoint:
            content["endpoint"] = endpoint
        if after:
            content["after"] = after
        content["messages"] = [self._message(each) for each in request.messages[after:]]
        if parameters := parameters or request.parameters:
            content["parameters"] = parameters
        if request.tools:
            names = [each["function"]["name"] for each in request.tools]
            content["tools"] = {"digest": digest_of(request.tools), "names": names}
        if request.schema is not None:
            content["schema"] = digest_of(request.schema)
        content["latency"] = round(call.seconds * 1000, 1)
        if call.first_chunk is not None:
            content["firstChunk"] = round(call.first_chunk * 1000, 1)
        if len(call.attempts) > 1:
            content["attempts"] = [_attempt(*each) for each in call.attempts]
        return content | self._answer(call.answer, text=text)

    def _answer(self, answer: Completion | ModelError, *, text: bool) -> dict[str, Any]:
        if isinstance(answer, ModelError):
            failed = {"error": {"code": answer.code, "message": str(answer)[:_LONGEST_ERROR]}}
            return failed | _paid(answer.usage, answer.cost)
        found: dict[str, Any] = {"model": answer.model, "finishReason": answer.finish_reason}
        if answer.cached:
            found["cached"] = True
        if text and not self._digests:
            found["text"] = answer.text
        return found | _paid(answer.usage, answer.cost)

    def _message(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        if known := self._elsewhere.get(id(message)):
            return {"role": message.get("role"), **known[1]}
        if self._digests:
            return {"role": message.get("role"), "digest": digest_of(message)}
        content = message.get("content")
        if isinstance(content, str) or not isinstance(content, list):
            return message
        return {**message, "content": [_without_data(part) for part in content]}


def tokens_of(usage: Usage) -> dict[str, int]:
    """The tokens of some calls as messages have them."""
    counts = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "reasoningTokens": usage.reasoning_tokens,
    }
    if usage.cache_read:
        counts["cacheReadTokens"] = usage.cache_read
    if usage.cache_write:
        counts["cacheWriteTokens"] = usage.cache_write
    return counts


def digest_of(value: Any) -> str:
    """The digest of a JSON value: `sha256:` and 64 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _paid(usage: Usage | None, cost: float | None) -> dict[str, Any]:
    """What a call has used, as far as it is known."""
    paid: dict[str, Any] = {"usage": tokens_of(usage)} if usage else {}
    return paid if cost is None else {**paid, "cost": round(cost, 12)}


def _attempt(attempt: ModelAttempt, endpoint: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"model": attempt.model, "latency": round(attempt.seconds * 1000, 1)}
    if endpoint:
        shown |= {"endpoint": endpoint, "parameters": parameters}
    if attempt.code:
        shown |= {"code": attempt.code, "message": attempt.message[:_LONGEST_ERROR]}
        shown |= _paid(attempt.usage, attempt.cost)
    return shown


def _common(before: Sequence[Any], now: Sequence[Any]) -> int:
    """How many messages at the beginning are the same."""
    pairs = enumerate(zip(before, now, strict=False))
    first = next((index for index, (a, b) in pairs if a is not b and a != b), None)
    return min(len(before), len(now)) if first is None else first


def _without_data(part: Any) -> Any:
    """A part of a message with the digest of its image or file in place of the bytes."""
    match part:
        case {"image_url": {"url": str(url), **rest}} if url.startswith("data:"):
            return {**part, "image_url": {**rest, "url": _digest_in(url)}}
        case {"file": {"file_data": str(url), **rest}} if url.startswith("data:"):
            return {**part, "file": {**rest, "file_data": _digest_in(url)}}
        case _:
            return part


def _digest_in(url: str) -> str:
    """The digest of the bytes in a data URL: an object of the object store has the same name."""
    data = base64.b64decode(url.partition(",")[2])
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
