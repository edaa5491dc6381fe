"""The parts of a message: its sender, its conversation, its payload, its routing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from agentd.protocol.subjects import DEFAULT_PRIORITY, OWN_ROOTS, TOKEN, is_foreign


def _as_written(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    check(value)
    return value  # 5000 forwarded as 5000.0 would be refused by an integer field in Go


def _null_is(empty: Any, kind: Any) -> BeforeValidator:
    # Some languages cannot leave a field out, and send null instead.
    return BeforeValidator(
        lambda value: empty if value is None else value, json_schema_input_type=kind | None
    )


def _foreign(subject: str) -> str:
    if not is_foreign(subject):
        own = ", ".join(f"{root}." for root in OWN_ROOTS)
        problem = "should be a subject of your own: agentd uses those that begin with {own}"
        raise PydanticCustomError("own_subject", problem, {"own": own})
    return subject


def _not_misspelt(name: str) -> str:
    # `reply_to` would be kept as an unknown field, and the reply would never come.
    if "_" in name and name in _names_in_python():
        raise PydanticCustomError("spelling", "should be {right}", {"right": to_camel(name)})
    return name


@cache
def _names_in_python() -> frozenset[str]:
    return frozenset(name for part in MessagePart.__subclasses__() for name in part.model_fields)


def _camel_case_only(schema: dict[str, Any], part: type[BaseModel]) -> None:
    names = [name for name in part.model_fields if "_" in name]
    if names:
        schema["propertyNames"] = {"not": {"enum": names}}


Unknown = dict[Annotated[str, AfterValidator(_not_misspelt)], Any]
Token = Annotated[str, Field(pattern=f"^{TOKEN}$")]
Amount = Annotated[
    float,
    Field(ge=0),
    WrapValidator(_as_written),
    PlainSerializer(lambda number: number, return_type=Any),
]
# Without the bound, 8 MB of wrong items would become 4 GB of validation errors.
Tokens = Annotated[tuple[Token, ...], Field(strict=False, max_length=100, fail_fast=True)]
# agentd publishes to replyTo with its own rights, so `$JS.API.STREAM.DELETE.x` must not be one.
ReplySubject = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
        max_length=255,
        json_schema_extra={"not": {"pattern": rf"^({'|'.join(OWN_ROOTS)})(\.|$)"}},
    ),
    AfterValidator(_foreign),
]


class MessagePart(BaseModel):
    """A part of a message: immutable, camelCase on the wire. Unknown fields are kept."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="allow",  # fields of later versions are passed on untouched
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
        """The names of its fields on the wire."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    # Not a validator of the whole part, which Python would run for each part of each message.
    __pydantic_extra__: Unknown = Field(init=False)  # pyright: ignore


class AgentIdentity(MessagePart):
    """Who sent a message."""

    id: str
    """The name of the agent, or any name that another sender gives itself."""
    type: str = "external"
    """`agent` for agents, `runtime` for agentd itself."""


# What OpenAI and other providers take as the name of a function, and as the id of a call.
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
CallId = Annotated[str, Field(min_length=1, max_length=256)]
MOST_TOOLS, MOST_CALLS = 128, 128


class SendersTool(MessagePart):
    """A function that the sender runs itself, if the model calls it."""

    name: FunctionName
    """Its name for the model."""
    description: str = ""
    """What it does."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """The JSON Schema of its arguments: an object."""


class SendersCall(MessagePart):
    """A call of a function that the sender runs."""

    id: CallId
    """Links the call and its answer."""
    name: FunctionName
    """The function."""
    arguments: str
    """The arguments as JSON text, as the model wrote it."""


_Tools = Annotated[
    tuple[SendersTool, ...], Field(strict=False, max_length=MOST_TOOLS, fail_fast=True)
]
_Calls = Annotated[
    tuple[SendersCall, ...], Field(strict=False, max_length=MOST_CALLS, fail_fast=True)
]


class HistoryMessage(MessagePart):
    """One earlier turn of a conversation."""

    role: str
    """`user`, `assistant`, `system` or `tool`."""
    content: Any = None
    """Text, or parts: in the format of OpenAI's chat, or as in `payload.content.parts`."""
    calls: Annotated[_Calls, _null_is((), _Calls)] = ()
    """In a turn of the assistant: its calls of the sender's tools."""
    call_id: CallId | None = None
    """In a turn of a tool: the call that it answers."""


History = Annotated[
    tuple[HistoryMessage, ...], Field(strict=False, max_length=10_000, fail_fast=True)
]


def has_calls(turns: Iterable[HistoryMessage]) -> bool:
    """Whether any turn calls a tool of the sender, or answers such a call."""
    return any(turn.calls or turn.call_id for turn in turns)


# `task.billing.issue`; with `*` for what a model may choose.
Emitted = Annotated[str, Field(pattern=rf"^(task|event)(\.({TOKEN}|\*)){{2}}$")]
EmittedCounts = Annotated[dict[Emitted, Annotated[int, Field(ge=0)]], Field(max_length=1_000)]


class Sibling(MessagePart):
    """The place of a message among all that one answer emitted."""

    of: Token
    """The task whose answer emitted the siblings."""
    index: Annotated[int, Field(ge=0)]
    """The number of this message, from 0."""
    count: Annotated[int, Field(ge=1)]
    """The number of siblings."""
    topic: Emitted | None = None
    """What this message was emitted as: `task.billing.issue`."""
    topics: Annotated[EmittedCounts, _null_is({}, EmittedCounts)] = Field(default_factory=dict)
    """The number of siblings of each topic; 0 where the agent may emit it, and did not."""


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
    memory: bool | None = None
    """Whether the memory of the conversation is used: shown to the model, and added to. False if
    the sender keeps the conversation itself. If left out, the manifest decides what is shown."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Any data about the user or the request; replies and emitted messages repeat it."""
    hops: Annotated[int, Field(ge=0, le=MOST_HOPS)] = 0
    """How often the request was passed on, from agent to agent."""
    path: Annotated[Path, _null_is((), Path)] = ()
    """The agents that it came through, oldest first."""
    siblings: Annotated[Siblings, _null_is((), Siblings)] = ()
    """Its place in each fan-out that it came through, oldest first."""
    task_parent_id: str | None = None
    """In a result: the `parentMessageId` of its task."""
    emitted: EmittedCounts | None = None
    """In a result: the number of messages of each topic that its answer emitted, 0 included."""


class Constraints(MessagePart):
    """The limits that the sender sets for the work."""

    timeout: Amount | None = None
    """Milliseconds for the work itself."""
    max_cost: Amount | None = None
    """USD for the task."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens, input and output together."""

    def within(self, outer: Constraints) -> Constraints:
        """These constraints, none of them wider than in `outer`."""
        unknown = {**(outer.model_extra or {}), **(self.model_extra or {})}
        least: dict[str, Any] = {}
        for name in type(self).model_fields:
            stated = [bound for c in (self, outer) if (bound := getattr(c, name)) is not None]
            if stated:
                least[name] = min(stated)
        return Constraints(**unknown, **least)


class Payload(MessagePart):
    """The content of a message, and how it is to be worked on."""

    content: Any = None
    """The task, result, event or question itself: text or any JSON."""
    model: str | None = None
    """The model to use: one of those in the agent's manifest."""
    parameters: Annotated[dict[str, Any], _null_is({}, dict[str, Any])] = Field(
        default_factory=dict
    )
    """Model parameters (`temperature`, `max_tokens`, ...); they override those of the agent."""
    constraints: Annotated[Constraints, _null_is(Constraints(), Constraints)] = Constraints()
    """Limits of time, cost and tokens."""
    answer_schema: dict[str, Any] | None = None
    """The JSON Schema that the answer must fit, if the manifest has no `output`."""
    tools: Annotated[_Tools, _null_is((), _Tools)] = ()
    """Functions of the sender. If the model calls one, the call is the answer of the task."""
    continuation: Annotated[History, _null_is((), History)] = ()
    """What followed the content so far: calls of the sender's tools, and their answers."""
    sequence_number: Annotated[int, Field(ge=0)] | None = None
    """The place of a delta in its stream, from 0."""
    is_first: bool | None = None
    """Whether a delta is the first of its stream."""
    is_final: bool | None = None
    """Whether a delta is the last of its stream."""
    chunk: str | None = None
    """The text of a delta."""
    turn: Annotated[int, Field(ge=1)] | None = None
    """The turn of the model that wrote a delta, from 1."""


class Routing(MessagePart):
    """Which agents may take a message, and how urgent it is."""

    priority: Annotated[int, Field(ge=0, le=9)] = DEFAULT_PRIORITY
    """0 to 9, higher is more urgent."""
    capabilities: Annotated[Tokens, _null_is((), Tokens)] = ()
    """The capabilities that an agent must have, all of them."""
    exclusions: Annotated[Tokens, _null_is((), Tokens)] = ()
    """The names of agents that must not take it."""
    timeout: Amount | None = None
    """Milliseconds from `timestamp` until the message expires."""
