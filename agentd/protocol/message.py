"""The message of protocol 1.0: typed in Python, camelCase on the wire, strictly checked."""

# ruff: noqa: A002  (`type` and `id` are names of the protocol)
from __future__ import annotations

import json
import re
import reprlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypedDict, Unpack, cast

from pydantic import Field, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from agentd.errors import DecodeError, TaskError
from agentd.protocol.fields import (
    LONGEST_PATH,
    MOST_HOPS,
    AgentIdentity,
    Amount,
    Context,
    MessagePart,
    Payload,
    ReplySubject,
    Routing,
    Token,
    has_calls,
)
from agentd.protocol.strict_json import check_size, parse
from agentd.protocol.subjects import TOKEN

MINIMAL: Final = '{"payload": {"content": "..."}}'

MessageType = Literal["task", "result", "event", "query", "stream"]

_MADE_HERE = re.compile(r"[0-9a-f]{32}")


class Links(TypedDict, total=False):
    """The fields that name a new message and link it to others. None means absent."""

    id: str | None
    target: str | None
    reply_to: str | None
    correlation_id: str | None


class AgentMessage(MessagePart):
    """One message between agents: a task, result, event, query or piece of a stream."""

    id: Token
    """Unique; the result of a task is stored under it."""
    timestamp: Amount
    """Unix time in seconds; a number over 1e11 is read as milliseconds."""
    version: Literal["1.0"] = "1.0"
    """The version of the protocol."""
    type: MessageType
    """If left out, the type in the subject."""
    source: AgentIdentity = AgentIdentity(id="anonymous")
    """Who sent it."""
    target: Token | None = None
    """The one agent that should take it."""
    reply_to: ReplySubject | None = None
    """A subject that gets a copy of the result."""
    correlation_id: str | None = None
    """Links related messages; a reply repeats it, or names the request's id."""
    context: Context
    """The conversation that it belongs to."""
    payload: Payload = Field(default_factory=Payload)
    """What it is about."""
    routing: Routing = Routing()
    """Who should take it, and how soon."""

    @property
    def sent_at(self) -> float:
        """Unix time in seconds."""
        return self.timestamp / 1000 if self.timestamp > 1e11 else self.timestamp

    @property
    def expires_at(self) -> float | None:
        """Unix time in seconds at which the message expires; None if it does not."""
        timeout = self.routing.timeout
        return None if timeout is None else self.sent_at + timeout / 1000

    @property
    def brings_tools(self) -> bool:
        """Whether the sender brings tools of its own, or turns that follow the content."""
        given = self.payload
        return bool(given.tools or given.continuation or has_calls(self.context.history))

    @property
    def repeated(self) -> int:
        """The bytes that every message repeats which follows from this one: the conversation, its
        metadata, the path."""
        return len(encode(self.reply("result", None, source=self.source)))

    def reply(
        self, type: MessageType, content: Any, *, source: AgentIdentity, id: str | None = None
    ) -> AgentMessage:
        """A message that answers or follows this one: same conversation, metadata and priority."""
        links = Links(id=id, correlation_id=self.correlation_id or self.id)
        context, rank = self._onward(source), Routing(priority=self.routing.priority)
        if type == "result" and self.context.parent_message_id is not None:
            # A join by parent finds the results of one task's emitted tasks by this field.
            context = context.model_copy(update={"task_parent_id": self.context.parent_message_id})
        return new(type, content, source=source, context=context, routing=rank, **links)

    def child(
        self,
        type: MessageType,
        content: Any,
        *,
        source: AgentIdentity,
        routing: Routing | None = None,
        **links: Unpack[Links],
    ) -> AgentMessage:
        """A message that `source` emits because of this one, one hop on; `content` as for `new`.

        It gets the time that this message has left, and no wider constraints. `routing` may ask for
        less time; unless it states a priority, it inherits this message's.
        """
        links = {"correlation_id": self.correlation_id or self.id, **links}
        payload = content if isinstance(content, Payload) else Payload(content=content)
        constraints = payload.constraints.within(self.payload.constraints)
        if constraints.model_fields_set:
            payload = payload.model_copy(update={"constraints": constraints})
        routing = routing or Routing()
        if "priority" not in routing.model_fields_set:
            routing = routing.model_copy(update={"priority": self.routing.priority})
        context = self._onward(source)
        work = new(type, payload, source=source, context=context, routing=routing, **links)
        return work._expiring_with(self)

    def delta(
        self,
        chunk: str,
        number: int,
        *,
        turn: int,
        final: bool,
        source: AgentIdentity,
        run: str = "",
    ) -> AgentMessage:
        """A delta of this task's answer, `number` counting from 0. It carries no metadata.

        Its id says which `run` it belongs to: two replicas that both run a task, because one was
        thought dead, mix their deltas on one subject.
        """
        first = number == 0
        piece = Payload(
            sequence_number=number, is_first=first, is_final=final, chunk=chunk, turn=turn
        )
        context = Context(conversation_id=self.context.conversation_id, parent_message_id=self.id)
        links = Links(id=f"{run}-{number}" if run else None, correlation_id=self.id)
        rank = Routing(priority=self.routing.priority)
        return new("stream", piece, source=source, context=context, routing=rank, **links)

    def _onward(self, source: AgentIdentity) -> Context:
        """The context of a message that `source` sends because of this one."""
        context = Context(
            conversation_id=self.context.conversation_id,
            parent_message_id=self.id,
            metadata=self.context.metadata,
            hops=min(self.context.hops + 1, MOST_HOPS),
            path=(*self.context.path, source.id)[-LONGEST_PATH:],
        )
        siblings = self.context.siblings
        return context.model_copy(update={"siblings": siblings}) if siblings else context

    def _expiring_with(self, parent: AgentMessage) -> AgentMessage:
        """This message, expiring no later than `parent`."""
        if parent.expires_at is None or parent.routing.timeout is None:
            return self
        # Whole milliseconds, rounded down. A clock that was set back must not give more time.
        left = max(0, int((parent.expires_at - self.sent_at) * 1000))
        asked = self.routing.timeout
        least = min(left, parent.routing.timeout, left if asked is None else asked)
        routing = self.routing.model_copy(update={"timeout": least})
        return self.model_copy(update={"routing": routing})


def new(
    type: MessageType,
    content: Any,
    *,
    source: AgentIdentity,
    context: Context | None = None,
    routing: Routing | None = None,
    **links: Unpack[Links],
) -> AgentMessage:
    """A message sent now, with every field that the protocol requires; `content` may be a Payload.

    Raises:
        pydantic.ValidationError: a value that the protocol does not allow.
    """
    stated: dict[str, Any] = {name: value for name, value in links.items() if value is not None}
    message_id = stated.setdefault("id", new_id())
    context, routing = context or Context(conversation_id=message_id), routing or Routing()
    # The protocol requires these two fields, and `encode` omits fields that were never set.
    if "metadata" not in context.model_fields_set:
        context = context.model_copy(update={"metadata": context.metadata})
    if "priority" not in routing.model_fields_set:
        routing = routing.model_copy(update={"priority": routing.priority})
    return AgentMessage(
        timestamp=time.time(),
        version="1.0",
        type=type,
        source=source,
        context=context,
        routing=routing,
        payload=content if isinstance(content, Payload) else Payload(content=content),
        **stated,
    )


def new_id() -> str:
    """A fresh message id: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def short_id(id: str) -> str:
    """An id as people see it, in the log and in lists: of one that `new_id` made 8 digits.

    Commands take any beginning of an id. An id that a sender chose may share its beginning with
    others, so it stays whole.
    """
    return id[:8] if _MADE_HERE.fullmatch(id) else id


def encode(message: AgentMessage) -> bytes:
    """The message as JSON: exactly the fields that were set, unknown ones included.

    NaN and infinity inside `content` become null, as in JavaScript.

    Raises:
        TaskError: a value is not JSON (code `unencodable`), for example half a surrogate pair.
    """
    try:
        return message.model_dump_json(exclude_unset=True).encode()
    except ValueError as error:
        raise TaskError(f"cannot be sent as JSON: {error}", code="unencodable") from None


def decode(
    data: bytes,
    *,
    type: MessageType | None = None,
    id: str | Callable[[], str] | None = None,
    timestamp: float | None = None,
    priority: int | None = None,
) -> AgentMessage:
    """The message in `data`. The keywords come from its subject and delivery; each is used if the
    message does not state it itself. Most messages state their id: a function that makes one is
    called for the others only.

    Raises:
        DecodeError: it is not a message of protocol 1.0, or contradicts the subject's `type`.
    """
    try:
        body = parse(data)
        if not isinstance(body, dict):
            raise DecodeError(f"not a JSON object; the smallest task is {MINIMAL}")
        if "id" not in body:
            body["id"] = (id() if callable(id) else id) or new_id()
        if "timestamp" not in body:
            body["timestamp"] = time.time() if timestamp is None else timestamp
        return _message(body, type, priority)
    except DecodeError as error:
        error.message_id = _readable_id(data) or (id() if callable(id) else id)
        raise


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the messages that senders write: `docs/message.schema.json`."""
    schema = AgentMessage.model_json_schema(schema_generator=_Untitled)
    for part in (schema, schema["$defs"]["Context"]):
        del part["required"]  # the subject and the delivery supply these
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "if": {"properties": {"type": {"enum": ["task", "query"]}}},
        "then": {
            "properties": {"payload": {"required": ["content"]}},
            "required": ["payload"],
        },
    }


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # a title would only repeat the field's name


def _message(
    body: Mapping[str, Any], type: MessageType | None, priority: int | None
) -> AgentMessage:
    raw: dict[str, Any] = {"type": type or "task", **body}
    if type and raw["type"] != type:
        raise DecodeError(f"is {_shown(raw['type'])}, but the subject says {type!r}", path="type")
    context = raw.get("context", {})
    if isinstance(context, dict):
        raw["context"] = {"conversationId": raw["id"], **context}
    routing = raw.get("routing", {})
    if priority is not None and isinstance(routing, dict):
        raw["routing"] = {"priority": priority, **routing}
    try:
        # By alias only: `reply_to` is for Python, and refused on the wire.
        message = AgentMessage.model_validate(raw, by_name=False)
    except ValidationError as error:
        raise _explained(error) from None
    if message.type in ("task", "query") and "content" not in message.payload.model_fields_set:
        problem = f"a {message.type} needs it; the smallest one is {MINIMAL}"
        raise DecodeError(problem, path="payload.content")
    return message


def _readable_id(data: bytes) -> str | None:
    """The id in a message that is otherwise invalid: the sender's error result has this id."""
    try:
        check_size(data)
        body = json.loads(data, parse_int=float)
    except (DecodeError, ValueError, RecursionError):
        return None
    found = cast("object", body.get("id")) if isinstance(body, dict) else None
    return found if isinstance(found, str) and re.fullmatch(TOKEN, found) else None


def _explained(error: ValidationError) -> DecodeError:
    first = error.errors(include_url=False)[0]
    text = _WORDS.get(first["type"]) or first["msg"].removeprefix("Input ")
    if not isinstance(first["input"], (dict, list)):
        text += f", not {_shown(first['input'])}"
    return DecodeError(text, path=".".join(map(str, first["loc"])))


_shown = reprlib.repr
_WORDS: Final = {
    "missing": "is required",
    "model_type": "should be an object",
    "dict_type": "should be an object",
    "tuple_type": "should be a list",
    "too_long": "has too many items",
}
