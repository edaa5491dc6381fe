"""The message of protocol 1.0: its fields, its defaults, its refusals, its documents."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from agentd.errors import DecodeError, TaskError
from agentd.protocol.fields import (
    LONGEST_PATH,
    MOST_HOPS,
    Constraints,
    HistoryMessage,
    Sibling,
)
from agentd.protocol.message import (
    MINIMAL,
    AgentIdentity,
    AgentMessage,
    Context,
    Payload,
    Routing,
    decode,
    encode,
    new,
    new_id,
    short_id,
)
from agentd.protocol.strict_json import MAX_BYTES

ANALYST = AgentIdentity(id="analyst", type="agent")
USER = AgentIdentity(id="maria")


def body(**fields: Any) -> bytes:
    """A task with these fields over the smallest one's."""
    return json.dumps({**json.loads(MINIMAL), **fields}).encode()


def wire(message: AgentMessage) -> dict[str, Any]:
    return json.loads(encode(message))


def refusal(data: bytes, **told: Any) -> DecodeError:
    with pytest.raises(DecodeError) as refused:
        decode(data, **told)
    return refused.value


# --- the source document -------------------------------------------------------------------------

EVERY_FIELD: dict[str, Any] = {
    "id": "3f0c9a52-6f0e-4f5e-9d1d-0d7d6a1b2c3d",
    "timestamp": 1795351114.25,
    "version": "1.0",
    "type": "task",
    "source": {"id": "analysis_001", "type": "agent"},
    "target": "analyst",
    "replyTo": "_INBOX.Xyz.1",
    "correlationId": "order 991",
    "context": {
        "conversationId": "chat 12",
        "parentMessageId": "m-1",
        "history": [{"role": "user", "content": "hello"}],
        "maxHistory": 10,
        "metadata": {"user": {"name": "maria"}},
    },
    "payload": {
        "content": {"instruction": "analyse", "n": [1, 2.5, None, True]},
        "model": "gpt-4",
        "parameters": {"temperature": 0.7, "max_tokens": 100},
        "constraints": {"timeout": 20000, "maxCost": 0.05, "maxTokens": 4000},
    },
    "routing": {
        "priority": 9,
        "capabilities": ["analysis", "sentiment"],
        "exclusions": ["analyst-beta"],
        "timeout": 60000,
    },
}


def test_every_field_of_the_interface_is_typed_and_travels_unchanged() -> None:
    message = decode(json.dumps(EVERY_FIELD).encode())
    assert wire(message) == EVERY_FIELD
    assert message.reply_to == "_INBOX.Xyz.1"
    assert message.correlation_id == "order 991"
    assert message.context.conversation_id == "chat 12"
    assert message.context.parent_message_id == "m-1"
    assert message.context.history == (HistoryMessage(role="user", content="hello"),)
    assert message.context.max_history == 10
    assert message.payload.parameters == {"temperature": 0.7, "max_tokens": 100}
    assert message.payload.constraints.max_cost == 0.05
    assert message.payload.constraints.max_tokens == 4000
    assert message.routing.capabilities == ("analysis", "sentiment")
    assert message.routing.exclusions == ("analyst-beta",)
    assert message.expires_at == 1795351114.25 + 60
    everywhere = (message, message.context, message.payload, message.routing)
    assert not any(part.model_extra for part in everywhere)


def test_the_documents_own_client_is_understood() -> None:
    """Its pydantic model sends null for what it leaves out."""
    announcement = {
        "id": new_id(),
        "timestamp": time.time(),
        "version": "1.0",
        "type": "event",
        "source": {"id": "analysis_001", "type": "agent"},
        "target": None,
        "replyTo": None,
        "correlationId": None,
        "context": {"conversationId": "system"},
        "payload": {"content": {"event": "agent_online", "capabilities": ["analysis"]}},
        "routing": {"priority": 0},
    }
    message = decode(json.dumps(announcement).encode(), type="event")
    assert message.reply_to is None
    assert message.routing.priority == 0
    assert wire(message) == announcement


def test_the_documents_stream_message_is_understood() -> None:
    piece = {
        "id": new_id(),
        "timestamp": time.time(),
        "version": "1.0",
        "type": "stream",
        "source": {"id": "a", "type": "agent"},
        "correlationId": "t-1",
        "context": {"conversationId": "t-1"},
        "payload": {"sequenceNumber": 0, "isFirst": True, "isFinal": False, "chunk": "Hel"},
        "routing": {"priority": 5},
    }
    message = decode(json.dumps(piece).encode(), type="stream")
    assert message.payload.sequence_number == 0
    assert message.payload.is_first is True
    assert message.payload.is_final is False
    assert message.payload.chunk == "Hel"
    assert wire(message) == piece


# --- defaults ------------------------------------------------------------------------------------


def test_the_smallest_task_gets_every_default() -> None:
    message = decode(MINIMAL.encode(), type="task", id="t-1", timestamp=1000.5)
    assert (message.id, message.timestamp, message.version, message.type) == (
        "t-1",
        1000.5,
        "1.0",
        "task",
    )
    assert message.source == AgentIdentity(id="anonymous", type="external")
    assert message.context == Context(conversation_id="t-1")
    assert message.payload.content == "..."
    assert message.routing == Routing(priority=5)
    assert message.expires_at is None


def test_forwarding_states_what_the_delivery_told_and_invents_nothing_else() -> None:
    message = decode(MINIMAL.encode(), id="t-1", timestamp=7)
    assert wire(message) == {
        "id": "t-1",
        "timestamp": 7,
        "type": "task",
        "context": {"conversationId": "t-1"},
        "payload": {"content": "..."},
    }


def test_without_a_delivery_a_message_gets_a_fresh_id_and_the_present() -> None:
    before = time.time()
    first, second = decode(MINIMAL.encode()), decode(MINIMAL.encode())
    assert first.id != second.id
    assert re.fullmatch("[0-9a-f]{32}", first.id)
    assert before <= first.sent_at <= time.time()


def test_an_id_is_made_only_for_a_message_that_states_none() -> None:
    made: list[str] = []

    def make() -> str:
        made.append("made")
        return "made"

    assert decode(body(id="mine"), id=make).id == "mine"
    assert made == []
    assert decode(MINIMAL.encode(), id=make).id == "made"
    with pytest.raises(DecodeError) as refused:
        decode(b"{}", id=make)
    assert refused.value.message_id == "made"


def test_the_body_wins_over_what_the_delivery_tells() -> None:
    message = decode(body(id="mine", timestamp=5), id="theirs", timestamp=9)
    assert (message.id, message.timestamp) == ("mine", 5)
    assert message.context.conversation_id == "mine"


def test_null_is_as_good_as_absent_in_optional_fields() -> None:
    message = decode(
        body(
            context={"history": None, "maxHistory": None, "parentMessageId": None},
            payload={"content": 1, "model": None, "parameters": None, "constraints": None},
            routing={"capabilities": None, "exclusions": None, "timeout": None},
        ),
        id="t-1",
    )
    assert message.context == decode(MINIMAL.encode(), id="t-1").context.model_copy(
        update={"history": (), "max_history": None, "parent_message_id": None}
    )
    assert message.payload.parameters == {}
    assert message.payload.constraints.timeout is None
    assert message.routing.capabilities == ()


def test_content_may_be_null_but_not_left_out() -> None:
    assert decode(b'{"payload": {"content": null}}').payload.content is None
    assert refusal(b'{"payload": {}}').path == "payload.content"


def test_fields_that_nobody_knows_travel_on() -> None:
    strange: dict[str, Any] = {
        "hops": 3,
        "trace": None,
        "reply": "a name of ours, as data",
        "payload": {"content": "x", "attachments": [{"url": "u"}]},
        "routing": {"priority": 1, "region": None},
        "context": {"conversationId": "c", "tenant": {"id": 1}},
        "source": {"id": "a", "team": "b"},
    }
    message = decode(body(**strange))
    assert message.reply_to is None
    forwarded = wire(message)
    assert {name: forwarded[name] for name in strange} == strange


@pytest.mark.parametrize("number", [5, 5.5, 1795351114, 1795351114123])
def test_numbers_are_forwarded_as_they_were_written(number: float) -> None:
    message = decode(body(timestamp=number, routing={"timeout": number}))
    assert f'"timestamp":{number},' in encode(message).decode()
    assert f'"timeout":{number}}}' in encode(message).decode()


def test_a_timestamp_in_milliseconds_is_understood() -> None:
    message = decode(body(timestamp=1795351114250, routing={"timeout": 500}))
    assert message.sent_at == 1795351114.25
    assert message.expires_at == 1795351114.75
    assert decode(body(timestamp=1795351114.25)).sent_at == 1795351114.25
    assert decode(body(timestamp=100_000_000_000)).sent_at == 100_000_000_000
    assert decode(body(timestamp=100_000_000_001)).sent_at == 100_000_000.001


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path", "text"),
    [
        ({"version": "2.0"}, "version", "should be '1.0', not '2.0'"),
        ({"type": "tsk"}, "type", "not 'tsk'"),
        ({"id": "a.b"}, "id", "not 'a.b'"),
        ({"id": 7}, "id", "should be a valid string, not 7"),
        ({"id": None}, "id", "should be a valid string"),
        ({"timestamp": "1795351114"}, "timestamp", "should be a valid number"),
        ({"timestamp": True}, "timestamp", "should be a valid number"),
        ({"timestamp": -1}, "timestamp", "greater than or equal to 0"),
        ({"source": {}}, "source.id", "is required"),
        ({"source": "me"}, "source", "should be an object, not 'me'"),
        ({"target": "a b"}, "target", "not 'a b'"),
        ({"replyTo": "$JS.API.STREAM.DELETE.AGENTD_LOG"}, "replyTo", "should match"),
        ({"replyTo": "agents.dev.result.a.b.t-2"}, "replyTo", "should be a subject of your own"),
        ({"replyTo": "agents"}, "replyTo", "should be a subject of your own"),
        ({"replyTo": "sched.dev.message.m"}, "replyTo", "should be a subject of your own"),
        ({"replyTo": "due.dev.task.a.b"}, "replyTo", "should be a subject of your own"),
        ({"replyTo": "work.dev.a.b.5"}, "replyTo", "should be a subject of your own"),
        ({"replyTo": "ring.dev.a.b.5"}, "replyTo", "should be a subject of your own"),
        ({"replyTo": "stored.dev.event.a.b"}, "replyTo", "should be a subject of your own"),
        ({"replyTo": "agentd.dev.cooldown"}, "replyTo", "should be a subject of your own"),
        ({"replyTo": "a.*"}, "replyTo", "should match"),
        ({"replyTo": "a..b"}, "replyTo", "should match"),
        ({"replyTo": "a b"}, "replyTo", "should match"),
        ({"replyTo": "a" * 300}, "replyTo", "at most 255"),
        ({"context": []}, "context", "should be an object"),
        ({"context": {"conversationId": ""}}, "context.conversationId", "at least 1"),
        ({"context": {"history": "x"}}, "context.history", "should be a list"),
        ({"context": {"history": [{}]}}, "context.history.0.role", "is required"),
        ({"context": {"metadata": []}}, "context.metadata", "should be an object"),
        ({"payload": {"content": 1, "parameters": 3}}, "payload.parameters", "an object, not 3"),
        (
            {"payload": {"content": 1, "constraints": {"maxTokens": 0}}},
            "payload.constraints.maxTokens",
            "greater than 0, not 0",
        ),
        ({"routing": {"priority": 10}}, "routing.priority", "less than or equal to 9, not 10"),
        ({"routing": {"priority": "5"}}, "routing.priority", "should be a valid integer"),
        ({"routing": {"timeout": -5}}, "routing.timeout", "greater than or equal to 0"),
        ({"routing": {"capabilities": "a"}}, "routing.capabilities", "should be a list"),
        ({"routing": {"exclusions": ["a", "b c"]}}, "routing.exclusions.1", "not 'b c'"),
        ({"routing": {"capabilities": ["a"] * 101}}, "routing.capabilities", "too many items"),
        ({"context": {"max_history": 3}}, "context.max_history", "should be maxHistory"),
        ({"type": "query", "payload": {}}, "payload.content", "a query needs it"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(
    fields: dict[str, Any], path: str, text: str
) -> None:
    error = refusal(body(**{"id": "t-1", **fields}))
    assert error.path == path
    assert str(error).startswith(f"{path}: ")
    assert text in str(error)
    assert error.message_id == ("t-1" if "id" not in fields else None)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\xef\xbb\xbf" + MINIMAL.encode(), "not JSON"),
        (MINIMAL.encode("utf-16"), "not JSON"),
        (MINIMAL.encode() * 2, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
    ],
)
def test_what_is_no_object_is_refused_and_the_smallest_task_shown(data: bytes, text: str) -> None:
    error = refusal(data)
    assert text in str(error)
    assert (error.path, error.message_id) == ("", None)


def test_a_task_without_content_is_shown_how_it_should_look() -> None:
    for data in (b"{}", b'{"payload": {}}', b'{"payload": {"text": "x"}}'):
        error = refusal(data)
        assert error.path == "payload.content"
        assert MINIMAL in str(error)


def test_a_field_in_snake_case_is_a_misspelt_one() -> None:
    assert str(refusal(body(reply_to="_INBOX.1"))) == "reply_to: should be replyTo, not 'reply_to'"


def test_a_flood_of_wrong_items_costs_one_error() -> None:
    flood = b'{"id":"t-1","routing":{"capabilities":[' + b"1," * 150_000 + b"1]}}"
    error = refusal(flood)
    assert error.path == "routing.capabilities.0"
    assert error.message_id == "t-1"


def test_hostile_json_is_refused_under_its_id_where_that_can_be_read() -> None:
    assert refusal(body(id="t-1", x=float("nan"))).message_id == "t-1"
    assert refusal(b'{"id": "t-1", "x": ' + b"9" * 100_000 + b"}").message_id == "t-1"
    assert refusal(b'{"id": "t-1", "x": ' + b"[" * 100_000 + b"}").message_id is None
    assert refusal(b'{"id": "t-1"}' + b" " * MAX_BYTES).message_id is None


def test_a_type_must_not_contradict_the_subject() -> None:
    error = refusal(body(id="t-1", type="event"), type="task")
    assert str(error) == "type: is 'event', but the subject says 'task'"
    assert error.message_id == "t-1"
    assert decode(body(type="task"), type="task").type == "task"
    assert decode(b"{}", type="event").type == "event"


@pytest.mark.parametrize(
    ("routing", "priority"), [({}, 7), ({"timeout": 5}, 7), ({"priority": 0}, 0)]
)
def test_a_priority_of_the_subject_counts_where_the_message_says_none(
    routing: dict[str, Any], priority: int
) -> None:
    message = decode(body(routing=routing), priority=7)
    assert message.routing == Routing.model_validate({**routing, "priority": priority})
    assert decode(MINIMAL.encode(), priority=7).routing == Routing(priority=7)
    assert "routing" not in wire(decode(MINIMAL.encode()))
    assert refusal(body(routing=[]), priority=7).path == "routing"


def test_a_refusal_begins_with_the_words_of_the_field_not_of_its_checker() -> None:
    assert str(refusal(body(timestamp="x"))) == "timestamp: should be a valid number, not 'x'"
    assert str(refusal(body(context=[]))) == "context: should be an object"


def test_a_refused_message_without_an_id_has_that_of_its_delivery() -> None:
    assert refusal(b'{"payload": 3}', id="d-1").message_id == "d-1"
    assert refusal(b"garbage", id="d-1").message_id == "d-1"
    assert refusal(b'{"id": "mine", "payload": 3}', id="d-1").message_id == "mine"


# --- new messages --------------------------------------------------------------------------------


def test_a_new_message_states_what_the_protocol_demands() -> None:
    message = new("task", {"a": 1}, source=USER)
    assert decode(encode(message)) == message
    assert wire(message) == {
        "id": message.id,
        "timestamp": message.timestamp,
        "version": "1.0",
        "type": "task",
        "source": {"id": "maria"},
        "context": {"conversationId": message.id, "metadata": {}},
        "payload": {"content": {"a": 1}},
        "routing": {"priority": 5},
    }


def test_a_new_message_takes_the_parts_and_links_it_is_given() -> None:
    message = new(
        "task",
        Payload(content="x", model="m"),
        source=USER,
        context=Context(conversation_id="c", max_history=3),
        routing=Routing(timeout=500),
        id="t-1",
        target="analyst",
        reply_to="_INBOX.1",
        correlation_id=None,
    )
    sent = wire(message)
    assert sent["payload"] == {"content": "x", "model": "m"}
    assert sent["context"] == {"conversationId": "c", "maxHistory": 3, "metadata": {}}
    assert sent["routing"] == {"timeout": 500, "priority": 5}
    assert (sent["id"], sent["target"], sent["replyTo"]) == ("t-1", "analyst", "_INBOX.1")
    assert "correlationId" not in sent


def test_a_new_message_obeys_the_protocol() -> None:
    with pytest.raises(ValueError, match="target"):
        new("task", "x", source=USER, target="not a token")


def test_a_reply_belongs_to_its_request() -> None:
    request = decode(json.dumps(EVERY_FIELD).encode())
    reply = request.reply("result", {"success": True}, source=ANALYST, id="r-1")
    assert reply.id == "r-1"
    assert reply.type == "result"
    assert reply.source == ANALYST
    assert reply.context.conversation_id == "chat 12"
    assert reply.context.parent_message_id == request.id
    assert reply.context.metadata == {"user": {"name": "maria"}}
    assert reply.context.history == ()
    assert reply.correlation_id == "order 991"
    assert reply.routing == Routing(priority=9)
    assert reply.payload.content == {"success": True}


def test_a_reply_names_a_request_that_has_no_correlation_id() -> None:
    request = new("task", "x", source=USER)
    reply = request.reply("result", "y", source=ANALYST)
    assert reply.correlation_id == request.id
    assert reply.reply("event", "z", source=ANALYST).correlation_id == request.id


def sibling(index: int) -> Sibling:
    return Sibling(of="t-0", index=index, count=3)


def test_a_result_names_the_parent_of_its_task_and_nothing_else_does() -> None:
    """A join by parent knows the results of one task's follow-ups by it."""
    context = Context(conversation_id="c", parent_message_id="p")
    request = new("task", "x", source=USER, context=context)
    assert request.reply("result", "y", source=ANALYST).context.task_parent_id == "p"
    assert request.reply("event", "y", source=ANALYST).context.task_parent_id is None
    assert request.child("task", "y", source=ANALYST).context.task_parent_id is None
    alone = new("task", "x", source=USER).reply("result", "y", source=ANALYST)
    assert "taskParentId" not in wire(alone)["context"]


def test_whatever_follows_a_message_keeps_its_places_among_siblings() -> None:
    places = (sibling(1), sibling(2))
    request = new("task", "x", source=USER, context=Context(conversation_id="c", siblings=places))
    assert request.reply("result", "y", source=ANALYST).context.siblings == places
    assert request.child("task", "y", source=ANALYST).context.siblings == places
    assert (
        "siblings"
        not in wire(new("task", "x", source=USER).child("task", "y", source=USER))["context"]
    )


def test_a_reply_is_one_hop_on() -> None:
    request = new("task", "x", source=USER)
    result = request.reply("result", "y", source=ANALYST)
    assert (result.context.hops, result.context.path) == (1, ("analyst",))
    assert wire(request)["context"].keys().isdisjoint({"hops", "path"})


def test_a_child_inherits_what_is_left() -> None:
    routing = Routing(priority=7, timeout=60_000)
    parent = new("task", "x", source=USER, routing=routing, correlation_id="order 991")
    parent = parent.model_copy(
        update={
            "timestamp": parent.sent_at - 20,
            "payload": Payload(content="x", constraints=Constraints(max_cost=0.5, max_tokens=900)),
        }
    )
    child = parent.child("task", "y", source=ANALYST, id="c-1", target="critic")
    assert (child.id, child.target, child.correlation_id) == ("c-1", "critic", "order 991")
    assert child.context.conversation_id == parent.context.conversation_id
    assert child.context.parent_message_id == parent.id
    assert child.routing.priority == 7
    assert 38_000 < (child.routing.timeout or 0) <= 40_000
    assert child.payload == Payload(
        content="y", constraints=Constraints(max_cost=0.5, max_tokens=900)
    )


def test_a_child_may_ask_for_less() -> None:
    parent = new("task", Payload(content="x", constraints=Constraints(max_cost=0.5)), source=USER)
    less = Payload(content="y", constraints=Constraints(max_cost=0.1, timeout=500))
    child = parent.child("task", less, source=ANALYST, routing=Routing(timeout=300, priority=1))
    assert child.payload.constraints == Constraints(max_cost=0.1, timeout=500)
    assert child.routing == Routing(timeout=300, priority=1)
    more = Payload(content="y", constraints=Constraints(max_cost=9))
    assert parent.child("task", more, source=ANALYST).payload.constraints.max_cost == 0.5


def test_a_child_of_what_has_expired_has_no_time() -> None:
    parent = new("task", "x", source=USER, routing=Routing(timeout=10))
    late = parent.model_copy(update={"timestamp": parent.sent_at - 5})
    assert late.child("task", "y", source=ANALYST).routing.timeout == 0


def waiting(seconds: float, timeout: float, monkeypatch: pytest.MonkeyPatch) -> AgentMessage:
    """A task with this timeout (ms) that was sent so many seconds ago."""
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    parent = new("task", "x", source=USER, routing=Routing(timeout=timeout))
    return parent.model_copy(update={"timestamp": 1000.0 - seconds})


@pytest.mark.parametrize(
    ("seconds", "asked", "left"),
    [
        (0.25, None, 1750),
        (0.25, 2000, 1750),
        (0.25, 1000, 1000),
        (0.25, 0, 0),
        (0.0004, None, 1999),
        (5.0, 1000, 0),
        (-7.0, None, 2000),
        (-7.0, 1500, 1500),
    ],
    ids=[
        "what is left",
        "less is left than it asks for",
        "it asks for less",
        "it asks for nothing",
        "rounded down",
        "nothing is left",
        "a clock that was set back gives no more",
        "a clock that was set back, and it asks for less",
    ],
)
def test_a_child_has_what_is_left_of_its_parents_time(
    seconds: float, asked: float | None, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = waiting(seconds, 2000, monkeypatch)
    routing = None if asked is None else Routing(timeout=asked)
    assert parent.child("task", "y", source=ANALYST, routing=routing).routing.timeout == left


def test_a_child_of_a_task_that_does_not_expire_has_the_time_it_asks_for() -> None:
    parent = new("task", "x", source=USER)
    assert parent.child("task", "y", source=ANALYST).routing.timeout is None
    asking = parent.child("task", "y", source=ANALYST, routing=Routing(timeout=7))
    assert asking.routing.timeout == 7


def test_a_path_keeps_its_end() -> None:
    long = Context(conversation_id="c", hops=MOST_HOPS, path=("a",) * LONGEST_PATH)
    child = new("task", "x", source=USER, context=long).child("task", "y", source=ANALYST)
    assert child.context.hops == MOST_HOPS
    assert (len(child.context.path), child.context.path[-1]) == (LONGEST_PATH, "analyst")


def test_a_delta_is_the_documents_stream_message() -> None:
    request = decode(json.dumps(EVERY_FIELD).encode())
    first = wire(request.delta("Hel", 0, turn=1, final=False, source=ANALYST))
    assert first["type"] == "stream"
    assert first["correlationId"] == request.id
    assert first["payload"] == {
        "sequenceNumber": 0,
        "isFirst": True,
        "isFinal": False,
        "chunk": "Hel",
        "turn": 1,
    }
    assert first["context"] == {
        "conversationId": "chat 12",
        "parentMessageId": request.id,
        "metadata": {},
    }
    assert first["routing"] == {"priority": 9}
    run = request.delta("Hel", 3, turn=1, final=False, source=ANALYST, run="r1")
    assert run.id == "r1-3"
    last = request.delta("", 7, turn=2, final=True, source=ANALYST).payload
    assert (last.is_first, last.is_final, last.sequence_number) == (False, True, 7)


@pytest.mark.parametrize(
    ("fields", "brings"),
    [
        ({}, False),
        ({"context": {"history": [{"role": "user", "content": "x"}]}}, False),
        ({"context": {"history": [{"role": "tool", "callId": "a"}]}}, True),
        ({"payload": {"content": "x", "tools": [{"name": "now"}]}}, True),
        ({"payload": {"content": "x", "continuation": [{"role": "assistant"}]}}, True),
    ],
)
def test_a_sender_may_bring_tools(fields: dict[str, Any], brings: bool) -> None:
    assert decode(body(**fields)).brings_tools is brings


def test_a_message_cannot_be_changed() -> None:
    message = new("task", "x", source=USER)
    with pytest.raises(ValueError, match="frozen"):
        message.target = "other"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("content", ["\ud800", {"a": object()}])
def test_what_is_no_json_cannot_be_sent(content: Any) -> None:
    with pytest.raises(TaskError) as refused:
        encode(new("result", content, source=ANALYST))
    assert refused.value.code == "unencodable"
    assert str(refused.value).startswith("cannot be sent as JSON: ")


def test_nan_is_sent_as_null() -> None:
    message = new("result", [float("nan"), float("inf")], source=ANALYST)
    assert wire(message)["payload"]["content"] == [None, None]


def test_an_id_of_ours_is_shown_short_and_that_of_a_sender_whole() -> None:
    made = new_id()

    assert short_id(made) == made[:8]
    assert short_id("order-2026-000123") == "order-2026-000123"
    assert short_id("A" * 32) == "A" * 32
