"""The port to language models: what a call sends, what it returns, and what every model offers."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from agentd.protocol.shape import Shape
from agentd.protocol.strict_json import MAX_BYTES

# How a message begins that asks the model to correct its answer. It has the role `user`, but it is
# not a new question: mocks skip it.
CORRECTION = "Your answer cannot be used: "

# What cut an answer off: the `max_tokens` of the request, or the context of the model (or a limit
# of its own, which most providers do not tell apart).
Cut = Literal["max_tokens", "context"]
CUT_IN_WORDS: Mapping[Cut, str] = {
    "max_tokens": "cut off at max_tokens",
    "context": "cut off, context full",
}


@dataclass(frozen=True)
class ChatRequest:
    """What one call sends to a model.

    Attributes:
        messages: in OpenAI's chat format, `{"role", "content", ...}` each.
        parameters: temperature and the like, sent unchanged. The manifest and the run have refused
            those that agentd sets itself.
        timeout: seconds for the whole call, from connecting to the last token.
        tools: in OpenAI's format, `{"type": "function", "function": {...}}` each.
        agent: who calls, so that agents take turns at a busy endpoint; it is not sent.
        schema: the JSON Schema that the answer must fit; sent in the way that the model supports.
        patience: seconds to wait for a slot or a rate, when another model could be called instead.
        on_attempt: is called at the end of each attempt, by what may try several models.
        on_wait: is called with the reason when the call waits for a server that is not there.
        on_sent: is called when an endpoint is called, with its name and the parameters.
    """

    messages: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any]
    timeout: float
    tools: Sequence[Mapping[str, Any]] = ()
    agent: str = ""
    schema: Mapping[str, Any] | None = None
    patience: float | None = None
    on_attempt: Callable[[ModelAttempt], None] | None = None
    on_wait: Callable[[str], Awaitable[None]] | None = None
    on_sent: Callable[[str, Mapping[str, Any]], None] | None = None

    @property
    def longest_wait(self) -> float:
        """Seconds that the call may wait for a slot or a rate before it begins."""
        return self.timeout if self.patience is None else min(self.timeout, self.patience)

    def after(self, seconds: float) -> ChatRequest:
        """The same request when so many seconds of its time have passed."""
        return replace(self, timeout=self.timeout - seconds)


@dataclass(frozen=True)
class ToolCall:
    """A tool call that the model requests; `arguments` is JSON text exactly as the model wrote it.

    It may be invalid JSON: whoever runs the tool checks it. `own` has the fields that this model
    wants back with the call; see `wire.own_fields`.
    """

    id: str
    name: str
    arguments: str
    own: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Usage:
    """Tokens of one call. `cache_read` and `cache_write` are parts of `input_tokens`,
    `reasoning_tokens` is a part of `output_tokens`."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        # Not `astuple`, which copies deeply: it took a tenth of the time of an echo task.
        return Usage(*map(operator.add, vars(self).values(), vars(other).values()))


@dataclass(frozen=True, kw_only=True)
class ModelAttempt:
    """One attempt to get an answer from one model.

    Attributes:
        model: its name.
        seconds: from the wait for a slot to the end of the answer.
        code: of the error; "" if the model answered.
        message: of the error.
        called: False if the provider was not called, because of a cooldown or a used-up rate.
        cost: USD that a failed attempt may have cost; None if not known.
        answered: whether the provider may have answered a failed attempt, and charge for it.
        usage: the tokens of a failed attempt; None if not known.
        completion: the answer, of an attempt that succeeded.
    """

    model: str
    seconds: float
    code: str = ""
    message: str = ""
    called: bool = True
    cost: float | None = None
    completion: Completion | None = None
    answered: bool = False
    usage: Usage | None = None


@dataclass(frozen=True)
class Completion:
    """An answer that can be used. `cost` is in USD; `usage` and `cost` are None if not known.

    `finish_reason` is the provider's own word. `cut` says what cut the text off; None if the answer
    is whole. `own` has the fields that this model wants back with its turn, as in `ToolCall`.
    `cached` says that it was given before to an identical request and costs nothing now.
    `attempts` has all attempts, if one failed before this answer; else it is empty.
    """

    text: str
    model: str
    finish_reason: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    cost: float | None = None
    reasoning: str | None = None
    cached: bool = False
    attempts: tuple[ModelAttempt, ...] = ()
    cut: Cut | None = None
    own: Mapping[str, Any] = field(default_factory=dict[str, Any])


# An answer that was stored, as `asdict` gives it: in the journal of a task, in the cache.
RECORDED: Shape[Completion] = Shape(Completion, most=MAX_BYTES)


class Model(Protocol):
    """What answers: one model, or several of which the next is called when one fails.

    A model holds no connection of its own; sessions belong to `choose.Models`.
    """

    name: str
    is_mock: bool

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """Returns the answer, complete and within `request.timeout` seconds.

        With `on_delta` the answer is streamed: `on_delta` is called with each piece of text as it
        arrives, and the pieces joined are `Completion.text`.

        Raises:
            ModelError: there is no complete answer. What `on_delta` itself raises passes through.
        """
        ...

    def cost_of(self, usage: Usage) -> float | None:
        """USD for a call that takes these tokens; None if the price is not known."""
        ...
