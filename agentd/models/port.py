"""The port to language models: what is asked, what comes back, and the shape of an answerer."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Protocol

from agentd.errors import ModelError
from agentd.manifest.model import RESERVED_PARAMETERS
from agentd.manifest.rate import Allowance

# How a correction begins that a model is told as a user turn: it is no new question.
CORRECTION = "Your answer cannot be used: "


@dataclass(frozen=True)
class ChatRequest:
    """One turn asked of a model.

    Attributes:
        messages: in OpenAI's chat shape, `{"role", "content", ...}` each.
        parameters: temperature and the like, sent as they are.
        timeout: seconds for the whole call, from connecting to the last token.
        tools: in OpenAI's shape, `{"type": "function", "function": {...}}` each.
        agent: who asks, so that agents take turns at a busy endpoint; no model is told.
        schema: the JSON Schema that the answer must fit; a model that knows how is held to it.
        patience: seconds to wait for a slot or for a rate, while another model could stand in.
        on_attempt: hears of every attempt as it ends; several models may be tried for one call.

    Raises:
        ModelError: `model_config`, when a parameter is one that agentd sets itself.
    """

    messages: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any]
    timeout: float
    tools: Sequence[Mapping[str, Any]] = ()
    agent: str = ""
    schema: Mapping[str, Any] | None = None
    patience: float | None = None
    on_attempt: Callable[[ModelAttempt], None] | None = None

    def __post_init__(self) -> None:
        for name in self.parameters.keys() & RESERVED_PARAMETERS.keys():
            reason = RESERVED_PARAMETERS[name]
            raise ModelError(f"`{name}` is not a parameter: {reason}", code="model_config")


@dataclass(frozen=True)
class ToolCall:
    """What the model wants called; `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Usage:
    """Tokens of one call. `cache_read` and `cache_write` are parts of `input_tokens`,
    `reasoning_tokens` of `output_tokens`."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(operator.add, astuple(self), astuple(other)))


@dataclass(frozen=True, kw_only=True)
class ModelAttempt:
    """One call of one model, and what became of it.

    Attributes:
        model: its name.
        seconds: from the first look for a slot to the end of the answer.
        code: of its error; "" if it answered.
        message: of its error.
        called: False when nobody was asked, because the endpoint rests or its rate is used up.
        cost: USD that a failed attempt may have cost, None where nobody knows.
        completion: the answer, of one that has it.
    """

    model: str
    seconds: float
    code: str = ""
    message: str = ""
    called: bool = True
    cost: float | None = None
    completion: Completion | None = None


@dataclass(frozen=True)
class Completion:
    """A whole answer. `cost` is in USD; `usage` and `cost` are None where nobody knows them.

    `cached` says that it was given before, to an identical request, and is paid already;
    `attempts` are all that were made, where one failed before it.
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


class Model(Protocol):
    """Something that answers; it may be several, of which one stands in for another."""

    name: str
    is_mock: bool

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        """The answer, whole and within `request.timeout` seconds.

        With `on_delta` the answer is streamed: it gets each piece of text as it comes, and the
        pieces joined are `Completion.text`.

        Raises:
            ModelError: in every other case; what `on_delta` itself raises passes through.
        """
        ...

    def cost_of(self, usage: Usage) -> float | None:
        """USD for a call that takes these tokens; None where the price is not known."""
        ...

    async def close(self) -> None: ...


class Secret(Protocol):
    """A value that does not print itself, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str: ...


class TokenPrice(Protocol):
    """USD per million tokens; `cached_input` None is the price of any input."""

    @property
    def input(self) -> float: ...
    @property
    def output(self) -> float: ...
    @property
    def cached_input(self) -> float | None: ...


class ModelRef(Protocol):
    """What a manifest says of a model. `timeout` and `cache` are in seconds, `script` is a parsed
    mock script; a `price` overrides the list's, `parameters` those of the agent."""

    @property
    def name(self) -> str: ...
    @property
    def api_base(self) -> str | None: ...
    @property
    def api_key(self) -> Secret | None: ...
    @property
    def timeout(self) -> float | None: ...
    @property
    def script(self) -> Any: ...
    @property
    def price(self) -> TokenPrice | None: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def rate(self) -> Allowance | None: ...
    @property
    def tokens(self) -> Allowance | None: ...
    @property
    def cache(self) -> float | None: ...
