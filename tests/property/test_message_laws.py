"""Laws of messages: any bytes decode or are refused, and forwarding loses nothing."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agentd.errors import DecodeError, TaskError
from agentd.protocol.fields import MOST_HOPS, Constraints, MessagePart
from agentd.protocol.message import (
    AgentIdentity,
    AgentMessage,
    Context,
    MessageType,
    Payload,
    Routing,
    decode,
    encode,
    json_schema,
    new,
)
from agentd.protocol.subjects import TOKEN

# --- what any sender may send --------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
any_text = st.text(max_size=8)  # including half surrogate pairs, which json.dumps escapes
token = st.from_regex(TOKEN, fullmatch=True)
scalars = st.none() | st.booleans() | st.integers() | text
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def names(part: type[MessagePart]) -> set[str]:
    """The names of the fields, on the wire and in Python."""
    return {name for key, field in part.model_fields.items() for name in (key, str(field.alias))}


json_values = st.recursive(
    scalars | numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
wild_values = st.recursive(
    scalars | st.floats() | any_text | st.integers(10**400, 10**401),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)

NAMES = sorted(
    {
        name
        for part in (AgentMessage, Context, Payload, Constraints, Routing)
        for name in names(part)
    }
    | {"role", "content", "reply", "model_config", "__class__"}
)


def shaped(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with the field names of the protocol, three levels deep, and any values."""
    for _ in range(3):
        values = values | st.dictionaries(st.sampled_from(NAMES), values, max_size=5)
    return values


# --- valid messages ------------------------------------------------------------------------------


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    unknown = st.dictionaries(
        st.sampled_from(["x", "jumps", "reply", "dict"]), json_values, max_size=1
    )
    return st.builds(lambda a, b: {**b, **a}, st.fixed_dictionaries({}, optional=fields), unknown)


amounts = st.integers(0, 10**13) | st.floats(0, 1e13).map(lambda number: number or 0.5)
payloads = optional(
    model=text | st.none(),
    parameters=st.dictionaries(text, json_values, max_size=2),
    constraints=optional(timeout=amounts, maxCost=amounts, maxTokens=st.integers(1)),
    chunk=text,
    sequenceNumber=st.integers(0),
    isFirst=st.booleans(),
    isFinal=st.booleans() | st.none(),
)
valid = st.builds(
    lambda message, payload, content: {**message, "payload": {**payload, "content": content}},
    optional(
        id=token,
        timestamp=amounts,
        version=st.just("1.0"),
        type=st.sampled_from(["task", "result", "event", "query", "stream"]),
        source=st.fixed_dictionaries({"id": text}, optional={"type": text}),
        target=token | st.none(),
        replyTo=token | st.none(),
        correlationId=text | st.none(),
        context=optional(
            conversationId=st.text("abc é", min_size=1),
            parentMessageId=text | st.none(),
            history=st.lists(
                st.fixed_dictionaries({"role": text}, optional={"content": json_values}), max_size=2
            ),
            maxHistory=st.integers(0),
            metadata=st.dictionaries(text, json_values, max_size=2),
            hops=st.integers(0, MOST_HOPS),
            path=st.lists(token, max_size=3),
        ),
        routing=optional(
            priority=st.integers(0, 9),
            capabilities=st.lists(token, max_size=2),
            exclusions=st.lists(token, max_size=2),
            timeout=amounts | st.none(),
        ),
    ),
    payloads,
    json_values,
)


def readable(data: bytes) -> AgentMessage | None:
    """The message, or None if it is refused. Any other exception fails the law."""
    with suppress(DecodeError):
        return decode(data)
    return None


# --- the laws ------------------------------------------------------------------------------------


@given(st.binary())
@example(b"\x80")
@example(b'{"payload":{"content":"\xed\xa0\x80"}}')
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    readable(data)


@given(valid, st.data())
def test_a_damaged_message_is_decoded_or_refused(body: dict[str, Any], data: st.DataObject) -> None:
    whole = json.dumps(body).encode()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    readable(whole[:start] + data.draw(st.binary(max_size=3)) + whole[end:])


@given(shaped(wild_values))
def test_any_json_is_decoded_and_can_be_forwarded_or_is_refused(value: Any) -> None:
    message = readable(json.dumps(value).encode())
    if message is not None:
        assert decode(encode(message)) == message


@given(valid)
def test_forwarding_changes_only_the_fields_that_come_from_the_delivery(
    body: dict[str, Any],
) -> None:
    message = decode(json.dumps(body).encode(), id="told", timestamp=7)
    told = {"id": "told", "timestamp": 7, "type": "task"}
    context = {"conversationId": message.id, **body.get("context", {})}
    assert same(json.loads(encode(message)), {**told, **body, "context": context})


@given(shaped(json_values).filter(lambda value: not has_whole_floats(value)) | valid)
def test_the_schema_and_the_decoder_agree(value: Any) -> None:
    accepted = readable(json.dumps(value).encode()) is not None
    assert accepted == SCHEMA.is_valid(value)


@given(json_values, text.filter(bool), st.integers(0, 9), st.none() | token)
def test_a_new_message_decodes_to_itself(
    content: Any, conversation: str, priority: int, target: str | None
) -> None:
    message = new(
        "task",
        content,
        source=AgentIdentity(id="a", type="agent"),
        context=Context(conversation_id=conversation),
        routing=Routing(priority=priority),
        target=target,
    )
    assert decode(encode(message), type="task") == message


@given(valid, st.lists(st.sampled_from(["task", "result", "event"]), min_size=1, max_size=4))
def test_a_chain_of_replies_is_one_conversation(
    body: dict[str, Any], types: list[MessageType]
) -> None:
    request = decode(json.dumps(body).encode())
    link, agent = request, AgentIdentity(id="a", type="agent")
    for type_ in types:
        reply = decode(encode(link.reply(type_, "x", source=agent)), type=type_)
        assert reply.context.parent_message_id == link.id
        assert reply.correlation_id == (request.correlation_id or request.id)
        assert reply.context.conversation_id == request.context.conversation_id
        assert reply.context.metadata == request.context.metadata
        assert reply.routing.priority == request.routing.priority
        link = reply


@given(valid, st.lists(token, min_size=1, max_size=4), st.none() | amounts)
def test_a_child_has_no_more_time_and_no_higher_limits_than_its_parent(
    body: dict[str, Any], agents: list[str], asked: float | None
) -> None:
    task = decode(json.dumps(body).encode())
    link = task
    for name in agents:
        routing = Routing(timeout=asked) if asked is not None else None
        made = link.child("task", "x", source=AgentIdentity(id=name), routing=routing)
        child = decode(encode(made), type="task")
        assert child == made
        assert child.context.hops == min(link.context.hops + 1, MOST_HOPS)
        assert child.context.path == (*link.context.path, name)
        if link.routing.timeout is not None:
            assert child.routing.timeout is not None
            assert child.routing.timeout <= link.routing.timeout
        assert asked is None or (child.routing.timeout or 0) <= asked
        assert child.payload.constraints == task.payload.constraints
        link = child


@given(wild_values)
def test_any_content_is_encoded_or_refused(content: Any) -> None:
    message = new("result", content, source=AgentIdentity(id="a"))
    with suppress(TaskError):
        readable(encode(message))


# --- comparing -----------------------------------------------------------------------------------

SCHEMA = Draft202012Validator(json_schema())


def same(one: Any, other: Any) -> bool:
    """Equal as JSON, where 5 and 5.0 are different ways to write a number."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def has_whole_floats(value: Any) -> bool:
    """Whether a value contains 5.0, which is an integer in JSON Schema, but not in the protocol."""
    if isinstance(value, dict):
        return any(has_whole_floats(inner) for inner in value.values())
    if isinstance(value, list):
        return any(has_whole_floats(inner) for inner in value)
    return isinstance(value, float) and value.is_integer()
