"""Model calls are read back from the record as they were sent, whatever else is on record."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import ModelError
from agentd.models.port import ChatRequest, Completion, ModelAttempt, ToolCall
from agentd.queue.journal import CALLS
from agentd.record.calls import MISSING, RecordedCall, calls_of, in_result
from agentd.run.loop import run
from agentd.run.spending import CallLog, ModelCall, digest_of
from tests.unit.workbench import (
    MANIFEST,
    Answer,
    FakeTool,
    RecordingLog,
    ScriptedModel,
    Workbench,
    calls,
    revision_of,
)

TOOLS = f"{MANIFEST}\nparameters: {{temperature: 0.5}}\ntools: [{{agent: plain}}]"
SCORED = f"{MANIFEST}\noutput: {{retries: 1, schema: {{type: object, required: [score]}}}}"


class Played:
    """A run, the requests that its model got, and what went on record."""

    def __init__(self, folder: Path, manifest: str, *answers: Answer) -> None:
        self.model = ScriptedModel(*answers)
        self.bench = Workbench(
            revision_of(folder, manifest, self.model, tools=(FakeTool("plain"),))
        )
        self.log = RecordingLog()

    async def run(self, steps: Mapping[Any, Any] | None = None, **context: Any) -> list[Any]:
        """The entries of the journal, and what the result says."""
        body = {"payload": {"content": "hello"}, "context": {"conversationId": "c", **context}}
        message = self.bench.delivery(body).task()
        calls = CallLog()
        options = {"journal": lambda: self.log, "calls": calls, "steps": steps or {}}
        await run(self.bench.revision, message, self.bench.context(message, **options))
        entries = [
            json.loads(json.dumps({"event": kind, "turn": turn, "index": index, **details}))
            for kind, turn, index, details in self.log.entries
        ]
        return [*entries, {"turn": calls.turn, **calls.take(answered=True)}]

    def sent(self) -> list[list[Mapping[str, Any]]]:
        return [list(request.messages) for request in self.model.requests]


def read(entries: list[Any], content: Any = "hello") -> list[list[Mapping[str, Any]]]:
    return [list(call.messages) for call in calls_of(entries, content)]


async def test_every_turn_is_read_back_as_it_was_sent(tmp_path: Path) -> None:
    played = Played(tmp_path, TOOLS, calls("plain", "plain"), calls("plain"), "done")
    entries = await played.run(history=[{"role": "user", "content": "earlier"}])

    assert len(played.sent()) == 3
    assert read(entries) == played.sent()
    first, _, last = calls_of(entries, "hello")
    assert (first.turn, last.turn) == (1, 3)
    assert first.details["parameters"] == {"temperature": 0.5}
    assert first.details["tools"]["names"] == ["plain"]
    assert first.details["usage"]["inputTokens"] == 1
    assert last.details["finishReason"] == "stop"
    assert "text" not in last.details


async def test_what_is_on_record_already_is_not_repeated(tmp_path: Path) -> None:
    played = Played(tmp_path, TOOLS, calls("plain"), "done")
    entries = await played.run()

    assert entries[-1]["call"]["messages"] == [
        {"role": "assistant", "turn": 1},
        {"role": "tool", "turn": 1, "index": 0},
    ]
    assert entries[0]["call"]["messages"][-1] == {"role": "user", "task": True}


async def test_a_corrected_answer_is_read_back(tmp_path: Path) -> None:
    played = Played(tmp_path, SCORED, "no JSON", '{"score": 1}')
    entries = await played.run()

    assert read(entries) == played.sent()
    assert len(played.sent()) == 2


async def test_a_resumed_run_is_read_back(tmp_path: Path) -> None:
    began = Played(tmp_path, TOOLS, calls("plain"), "done")
    [turn, answer, _] = await began.run()
    resumed = Played(tmp_path, TOOLS, "done")
    [*none, result] = await resumed.run(began.log.steps())

    assert none == []
    assert read([turn, answer, result]) == [*began.sent()[:1], *resumed.sent()]


def call(messages: list[Any], answer: Any = Completion("x", "m", "stop")) -> ModelCall:
    request = ChatRequest(messages=messages, parameters={}, timeout=1)
    attempt = ModelAttempt(model="m", seconds=0.5)
    attempts = [(attempt, "https://host", {"top_p": 1})]
    return ModelCall(
        name="m", request=request, seconds=0.5, first_chunk=0.25, attempts=attempts, answer=answer
    )


def test_a_call_says_where_how_fast_and_with_which_parameters() -> None:
    log = CallLog()
    log.add(call([{"role": "user", "content": "x"}]))

    assert log.take(answered=False)["call"] == {
        "model": "m",
        "endpoint": "https://host",
        "messages": [{"role": "user", "content": "x"}],
        "parameters": {"top_p": 1},
        "latency": 500.0,
        "firstChunk": 250.0,
        "finishReason": "stop",
        "text": "x",
    }
    assert log.take(answered=False) == {}


def test_calls_before_the_last_one_are_on_record_too() -> None:
    log, failed = CallLog(), ModelError("busy", code="model_overloaded")
    log.add(call([{"role": "user", "content": "sum up"}]))
    log.add(call([{"role": "user", "content": "x"}], failed))
    log.add(call([{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]))
    recorded = log.take(answered=True)

    assert [each.get("text") for each in recorded["earlier"]] == ["x", None]
    assert recorded["earlier"][1]["error"] == {"code": "model_overloaded", "message": "busy"}
    assert recorded["call"]["after"] == 1
    entries = [{"turn": 1, **recorded}]
    assert read(entries) == [
        [{"role": "user", "content": "sum up"}],
        [{"role": "user", "content": "x"}],
        [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}],
    ]


def test_images_and_files_are_on_record_by_their_digests() -> None:
    data = base64.b64encode(b"picture").decode()
    parts = [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:x;base64,{data}"}},
    ]
    log = CallLog()
    log.add(call([{"role": "user", "content": parts}]))
    [message] = log.take(answered=True)["call"]["messages"]

    digest = f"sha256:{hashlib.sha256(b'picture').hexdigest()}"
    assert [parts[0], parts[2]] == [message["content"][0], message["content"][2]]
    assert message["content"][1]["image_url"]["url"] == digest
    assert message["content"][3]["file"] == {"filename": "a.pdf", "file_data": digest}


def test_with_digests_no_content_is_on_record() -> None:
    log, message = CallLog("digests"), {"role": "user", "content": "very private"}
    log.add(call([message]))
    recorded = log.take(answered=False)

    assert "private" not in json.dumps(recorded)
    assert recorded["call"]["messages"] == [{"role": "user", "digest": digest_of(message)}]
    assert "text" not in recorded["call"]


@pytest.mark.parametrize(
    "headers", [None, {}, {CALLS: "no JSON"}, {CALLS: "[1]"}, {CALLS: '{"a": 1, "a": 2}'}]
)
def test_a_header_that_is_none_says_nothing(headers: Mapping[str, str] | None) -> None:
    assert calls_of([in_result(headers)], "hello") == []


@pytest.mark.parametrize(
    "stranger",
    [
        {},
        {"event": "turn", "turn": 1},
        {"event": "turn", "turn": 1, "completion": "x", "call": 5},
        {"event": "tool_answered", "text": 5},
        {"turn": [], "earlier": {"a": 1}, "call": None},
    ],
)
def test_strange_records_are_left_out(stranger: Mapping[str, Any]) -> None:
    good = {"turn": 1, "call": {"messages": [{"role": "user", "task": True}]}}
    assert read([stranger, good]) == [[{"role": "user", "content": "hello"}]]


def test_places_that_are_not_on_record_say_so() -> None:
    messages = [{"role": "assistant", "turn": 3}, {"role": "tool", "turn": 3, "index": 9}, 7]
    strange = {"turn": 4, "call": {"messages": messages, "after": -5}}
    [found] = calls_of([strange], "hello")
    assert [each.get("content") for each in found.messages] == [MISSING, MISSING, None]

    completion = {"text": "", "model": "m", "finish_reason": "tool_calls"}
    turn = {"event": "turn", "turn": 3, "completion": completion}
    assert isinstance(calls_of([turn, strange], "hello")[0], RecordedCall)


def test_a_call_of_a_tool_is_read_back_with_its_id() -> None:
    tool = ToolCall("id-1", "plain", "{}")
    completion = {
        "text": "Hm.",
        "model": "m",
        "finish_reason": "tool_calls",
        "tool_calls": [{"id": tool.id, "name": tool.name, "arguments": "{}", "own": {}}],
    }
    entries = [
        {"event": "turn", "turn": 1, "completion": completion},
        {"event": "tool_answered", "turn": 1, "index": 0, "text": "done", "error": False},
        {"turn": 2, "call": {"messages": [{"role": "tool", "turn": 1, "index": 0}]}},
    ]
    assert read(entries) == [[{"role": "tool", "tool_call_id": "id-1", "content": "done"}]]
