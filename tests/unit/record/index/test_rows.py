"""Messages of the log as rows, whatever strangers have written there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg

from agentd.record.index.file import IndexFile, add, state
from agentd.record.index.rows import Row, about_object, row_of

RESULT = {
    "success": True,
    "data": "12 %",
    "model": "openai/m",
    "cost": 0.25,
    "latency": 812.3,
    "revision": "3f2a",
    "usage": {"inputTokens": 7, "outputTokens": 2},
}


def stored(subject: str, body: Any, **headers: str) -> Msg:
    """A message as a direct get gives it."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    own = {
        "Nats-Subject": subject,
        "Nats-Sequence": "7",
        "Nats-Time-Stamp": "2026-11-30T22:30:20.123456789Z",
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Msg(Client(), "_INBOX.x", "", data, {**named, **own})


def row(subject: str, body: Any, **headers: str) -> Row:
    found = row_of(stored(subject, body, **headers))
    assert found
    return found


def message(content: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": "m1",
        "source": {"id": "analyst", "type": "agent"},
        "correlationId": "c0",
        "context": {"conversationId": "conv", "parentMessageId": "t0"},
        "payload": {"content": content},
        **fields,
    }


def test_a_task() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    body = message("What is new?", target="analyst")

    found = row("agents.dev.task._agent.analyst.5", body, traceparent=f"00-{trace}-00f067aa-01")

    assert found == Row(
        sequence=7,
        time=1796077820.123456,
        env="dev",
        kind="task",
        topic="_agent.analyst",
        id="m1",
        task="m1",
        conversation="conv",
        parent="t0",
        correlation="c0",
        source="analyst",
        source_type="agent",
        target="analyst",
        trace=trace,
        size=len(json.dumps(body)),
        text="What is new?",
    )


def test_a_task_without_anything() -> None:
    found = row("agents.dev.task.a.b", {"payload": {"content": "x"}}, Agentd_Task="t9")

    assert (found.id, found.task, found.conversation) == ("t9", "t9", "t9")


def test_a_result() -> None:
    found = row("agents.dev.result.a.b.t0", message(RESULT))

    assert (found.task, found.topic, found.success, found.text) == ("t0", "a.b", True, "12 %")
    assert (found.model, found.revision, found.cost) == ("openai/m", "3f2a", 0.25)
    assert (found.tokens_in, found.tokens_out, found.latency) == (7, 2, 812.3)


def test_a_failed_result() -> None:
    error = {"code": "model_timeout", "message": "no answer"}
    found = row("agents.dev.result.a.b.t0", message({"success": False, "error": error}))

    assert (found.success, found.code, found.text) == (False, "model_timeout", "no answer")


def test_an_entry_of_a_journal() -> None:
    content = {
        "event": "tool_answered",
        "task": "t0",
        "delivery": 2,
        "turn": 1,
        "index": 3,
        "name": "lookup",
        "text": "found",
        "error": True,
    }
    found = row("agents.dev.event.run.t0", message(content))

    assert (found.name, found.task, found.tool) == ("tool_answered", "t0", "lookup")
    assert (found.attempt, found.turn, found.call, found.success) == (2, 1, 3, False)


def test_a_turn_of_a_model() -> None:
    called = {"model": "openai/m", "latency": 12.5, "messages": [{"content": "the prompt"}]}
    completion = {"text": "I look it up.", "cost": 0.5, "usage": {"input_tokens": 3}}
    content = {"event": "turn", "task": "t0", "turn": 1, "call": called, "completion": completion}

    found = row("agents.dev.event.run.t0", message(content))

    assert (found.model, found.latency, found.cost) == ("openai/m", 12.5, 0.5)
    assert (found.tokens_in, found.tokens_out, found.text) == (3, None, "I look it up.")


def test_an_event_of_an_agent() -> None:
    found = row("agents.dev.event.report.ready", message({"task": "write", "code": "x = 1"}))

    assert (found.name, found.task, found.text) == ("", "", "write\nx = 1")


def test_a_dead_letter() -> None:
    headers = {"Agentd_Reason": "exhausted", "Agentd_Error": "gone", "Agentd_Task": "t0"}
    found = row("agents.dev.dlq.a.b", message("x"), Agentd_Attempts="5", **headers)

    assert (found.kind, found.task, found.code) == ("dlq", "t0", "exhausted")
    assert (found.success, found.attempt, found.text) == (False, 5, "gone\nx")


def test_a_content_in_the_object_store() -> None:
    digest = f"sha256:{'a' * 64}"
    reference = {"$object": {"digest": digest, "size": 9}}

    assert row("agents.dev.event.a.b", message(reference)).object == digest
    assert row("agents.dev.result.a.b.t", message({**RESULT, "data": reference})).object == digest


def test_a_content_of_the_object_store() -> None:
    entry = {"event": "turn", "turn": 2, "text": "hello"}
    task = {"payload": {"content": "asked"}}

    columns, text = about_object("event", json.dumps(entry).encode())
    assert (columns["name"], columns["turn"], text) == ("turn", 2, "hello")
    assert about_object("result", b'"hello"') == ({}, "hello")
    assert about_object("dlq", json.dumps(task).encode()) == ({}, "asked")
    assert about_object("event", b"") == ({}, "")


@pytest.mark.parametrize(
    ("subject", "erased", "found"),
    [
        ("dlq.dropped", [[1, 2], [7, 7]], ((1, 2), (7, 7))),
        ("conversation.forgotten", [[1, 2]], ((1, 2),)),
        ("conversation.forgotten", [[1], ["a", 2], [-1, 2], None, [1, 2, 3], [2**99, 2**99]], ()),
        ("conversation.forgotten", {"1": 2}, ()),
        ("review.done", [[1, 2]], ()),
    ],
)
def test_what_an_event_says_was_erased(subject: str, erased: Any, found: Any) -> None:
    assert row(f"agents.dev.event.{subject}", message({"erased": erased})).erased == found
    assert row("agents.dev.task.dlq.x", message({"erased": erased})).erased == ()


def test_heartbeats_are_left_out() -> None:
    assert row_of(stored("agents.dev.event.status.heartbeat", message({}))) is None


HOSTILE: list[Any] = [
    b"",
    b"\xff\xfe\0",
    b"[" * 100_000,
    b"[" + b"[]," * 400_000 + b"[]]",
    b'{"id": "\\ud800"}',
    b'{"payload": {"content": 1e999}}',
    b"null",
    [],
    {"id": ["x"], "context": 1, "payload": "x", "source": None},
    message({"success": 1, "cost": -1, "usage": 5, "latency": 10**400, "error": "x"}),
    message({"success": "yes", "cost": True, "usage": {"inputTokens": 2**70}, "data": {}}),
    message({"event": {"a": 1}, "turn": -1, "delivery": 1.5, "call": "x", "error": []}),
    message({"$object": "x"}),
    message("\0", id="x" * 10_000),
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    "subject", ["task.a.b", "result.a.b.t", "event.run.t", "event.x.y", "dlq.a.b", "task.\\xff.b"]
)
def test_whatever_is_stored_becomes_a_row(subject: str, body: Any, tmp_path: Any) -> None:
    found = row(f"agents.dev.{subject}", body, Agentd_Attempts="9" * 99, traceparent="x")

    with IndexFile(tmp_path / "x").writing() as db:
        add(db, [found], 7, "")
        assert state(db) == (7, "")
    assert all(len(each) <= 256 for each in found[:-2] if isinstance(each, str))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)
FIELDS = ("event", "error", "call", "usage", "cost", "model", "turn", "success", "data", "$object")


@given(
    st.sampled_from(["task.a.b", "result.a.b.t", "event.run.t", "dlq.a.b"]),
    st.dictionaries(st.sampled_from(FIELDS), values) | values,
)
def test_any_content_becomes_a_row(subject: str, content: Any) -> None:
    found = row(f"agents.dev.{subject}", json.dumps(message(content)).encode())

    assert found.success in (True, False, None)
    assert found.cost is None or 0 <= found.cost < 2**53


@pytest.mark.parametrize(
    ("topic", "conversation"),
    [
        ("conversation.stopped", "chat"),
        ("cancel.requested", "chat"),
        ("conversation.forgotten", "conv"),
        ("review.done", "conv"),
    ],
)
def test_a_cancellation_is_of_the_conversation_that_it_names(topic: str, conversation: str) -> None:
    body = message({"event": "x", "conversation": "chat"})

    assert row(f"agents.dev.event.{topic}", body).conversation == conversation
    assert row(f"agents.dev.event.{topic}", message({"conversation": 3})).conversation == "conv"
