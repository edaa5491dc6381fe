"""What a message is made of: who sent it, its conversation, its payload, its routing."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from agentd.protocol.subjects import DEFAULT_PRIORITY, TOKEN


def _as_written(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    check(value)
    return value  # 5000 forwarded as 5000.0 would be refused by an integer field in Go


def _null_is(empty: Any, kind: Any) -> BeforeValidator:
    # Languages without "absent" send null for every field that they leave out.
    return BeforeValidator(
        lambda value: empty if value is None else value, json_schema_input_type=kind | None
    )


def _camel_case_only(schema: dict[str, Any], part: type[BaseModel]) -> None:
    names = [name for name in part.model_fields if "_" in name]
    if names:
        schema["propertyNames"] = {"not": {"enum": names}}


Token = Annotated[str, Field(pattern=f"^{TOKEN}$")]
Amount = Annotated[
    float,
    Field(ge=0),
    WrapValidator(_as_written),
    PlainSerializer(lambda number: number, return_type=Any),
]
# Unbounded, 8 MB of wrong items would become 4 GB of validation errors.
Tokens = Annotated[tuple[Token, ...], Field(strict=False, max_length=100, fail_fast=True)]
# agentd publishes to replyTo with its own rights, so `$JS.API.STREAM.DELETE.x` must not be one.
ReplySubject = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=255)]


class MessagePart(BaseModel):
    """A piece of a message: immutable, camelCase on the wire, open to fields it does not know."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="allow",  # fields of later versions and other dialects travel on untouched
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_extra=_camel_case_only,
    )

    @classmethod
    def wire_names(cls) -> tuple[str, ...]:
        """What its fields are called on the wire."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @model_validator(mode="after")
    def _refuse_snake_case(self) -> Self:
        # Kept as an unknown field, a `reply_to` would be a reply that never comes.
        for name in (self.model_extra or {}).keys() & type(self).model_fields.keys():
            spelling = {"wrong": name, "right": to_camel(name)}
            raise PydanticCustomError("spelling", "{wrong} is spelled {right}", spelling)
        return self


class AgentIdentity(MessagePart):
    """Who sent a message."""

    id: str
    """The agent's name, or whatever a sender calls itself."""
    type: str = "external"
    """`agent` for agents, `runtime` for agentd itself."""


class HistoryMessage(MessagePart):
    """One earlier turn of a conversation."""

    role: str
    """`user`, `assistant`, `system` or `tool`."""
    content: Any = None
    """Text, or the parts that the model's provider takes."""


History = Annotated[
    tuple[HistoryMessage, ...], Field(strict=False, max_length=10_000, fail_fast=True)
]


class Sibling(MessagePart):
    """The place of a message among those that one rule of one answer emitted."""

    of: Token
    """The task whose answer emitted them."""
    rule: Annotated[int, Field(ge=0)] = 0
    """Which of the rules of its agent, from 0."""
    index: Annotated[int, Field(ge=0)]
    """Which of the messages, from 0."""
    count: Annotated[int, Field(ge=1)]
    """How many there are."""


MOST_HOPS, LONGEST_PATH, DEEPEST = 1_000_000, 1_000, 100
Siblings = Annotated[tuple[Sibling, ...], Field(strict=False, max_length=DEEPEST, fail_fast=True)]
Path = Annotated[tuple[str, ...], Field(strict=False, max_length=LONGEST_PATH, fail_fast=True)]


class Context(MessagePart):
    """The conversation that a message belongs to."""

    conversation_id: Annotated[str, Field(min_length=1)]
    """The thread or session; the message's own id if left out."""
    parent_message_id: str | None = None
    """The message that this one answers or follows."""
    history: Annotated[History, _null_is((), History)] = ()
    """Earlier turns, oldest first."""
    max_history: Annotated[int, Field(ge=0)] | None = None
    """The most turns of history to use."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """User info, preferences; replies carry it on."""
    hops: Annotated[int, Field(ge=0, le=MOST_HOPS)] = 0
    """How often the request was handed on, from agent to agent."""
    path: Annotated[Path, _null_is((), Path)] = ()
    """The agents that it came through, the last one last."""
    siblings: Annotated[Siblings, _null_is((), Siblings)] = ()
    """Its place in each fan-out that it came through, the last one last."""
    task_parent_id: str | None = None
    """Of a result: the `parentMessageId` of its task."""


class Constraints(MessagePart):
    """What the work may take."""

    timeout: Amount | None = None
    """Milliseconds for the work itself."""
    max_cost: Amount | None = None
    """US dollars."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens, in and out together."""

    def within(self, outer: Constraints) -> Constraints:
        """These, none of them wider than in `outer`."""
        unknown = {**(outer.model_extra or {}), **(self.model_extra or {})}
        least: dict[str, Any] = {}
        for name in type(self).model_fields:
            stated = [bound for c in (self, outer) if (bound := getattr(c, name)) is not None]
            if stated:
                least[name] = min(stated)
        return Constraints(**unknown, **least)


class Payload(MessagePart):
    """What a message is about."""

    content: Any = None
    """The task, result, event or question itself: text or any JSON."""
    model: str | None = None
    """The model to use, of those that the agent's manifest lists."""
    parameters: Annotated[dict[str, Any], _null_is({}, dict[str, Any])] = Field(
        default_factory=dict
    )
    """Model parameters (`temperature`, `max_tokens`, ...) over the agent's own."""
    constraints: Annotated[Constraints, _null_is(Constraints(), Constraints)] = Constraints()
    """Limits of time, cost and tokens."""
    sequence_number: Annotated[int, Field(ge=0)] | None = None
    """The place of a delta in its stream, from 0."""
    is_first: bool | None = None
    """Whether a delta opens its stream."""
    is_final: bool | None = None
    """Whether a delta closes its stream."""
    chunk: str | None = None
    """The text of a delta."""


class Routing(MessagePart):
    """Who should take a message, and how soon."""

    priority: Annotated[int, Field(ge=0, le=9)] = DEFAULT_PRIORITY
    """0 to 9, higher is more urgent."""
    capabilities: Annotated[Tokens, _null_is((), Tokens)] = ()
    """What the agent must be able to do, all of it."""
    exclusions: Annotated[Tokens, _null_is((), Tokens)] = ()
    """Names of agents that must not take it."""
    timeout: Amount | None = None
    """Milliseconds from `timestamp` until nobody waits for it any more."""
