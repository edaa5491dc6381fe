"""A model call: every attempt is measured, and failures of several models are recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import ModelError
from agentd.models.port import ChatRequest, Completion, Model, ModelAttempt, Usage
from agentd.queue.journal import MODEL_AWAITED, MODEL_FAILED
from agentd.run import model_call
from tests.unit.workbench import MANIFEST, RecordingLog, ScriptedModel, Workbench, revision_of

HELLO = ChatRequest([{"role": "user", "content": "hello"}], {}, 10)
GOOD = Completion("hello", "good", "stop", usage=Usage(10, 2), cost=0.5)
SUCCESS = ModelAttempt(model="good", seconds=1.5, completion=GOOD)
FAILURE = ModelAttempt(
    model="bad", seconds=0.25, code="model_timeout", message="too slow", cost=0.125
)
SKIPPED = ModelAttempt(model="cold", seconds=0.0, code="model_overloaded", called=False)


class Reporting(ScriptedModel):
    """A model that reports these attempts."""

    def __init__(self, *attempts: ModelAttempt, error: ModelError | None = None) -> None:
        super().__init__(error or GOOD)
        self.attempts = attempts

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        assert request.on_attempt
        for each in self.attempts:
            request.on_attempt(each)
        return await super().complete(request, on_delta)


class Calls:
    """Calls of a model, with the journal and the metrics that see them."""

    def __init__(self, folder: Path) -> None:
        self.bench = Workbench(revision_of(folder, MANIFEST))
        self.log = RecordingLog()
        self.text = ""

    async def call(self, model: Model) -> Completion:
        message = self.bench.delivery().task()
        context = self.bench.context(message, journal=lambda: self.log)
        return await model_call.call(model, HELLO, context, self.push)

    def push(self, text: str) -> None:
        self.text += text

    def exposed(self) -> str:
        return self.bench.services.metrics.expose()[0].decode()


async def test_an_answer_is_streamed_and_measured(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    assert await calls.call(Reporting(SUCCESS)) is GOOD
    assert calls.text == "hello"
    assert calls.log.entries == []
    assert 'agentd_model_calls_total{model="good",status="success"} 1.0' in calls.exposed()


async def test_a_model_that_reports_no_attempts_is_measured(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    assert await calls.call(ScriptedModel(GOOD, name="one")) is GOOD
    with pytest.raises(ModelError):
        await calls.call(ScriptedModel(ModelError("slow", code="model_timeout"), name="two"))
    exposed = calls.exposed()
    assert 'agentd_model_calls_total{model="one",status="success"} 1.0' in exposed
    assert 'agentd_model_calls_total{model="two",status="model_timeout"} 1.0' in exposed
    assert 'agentd_model_tokens_total{direction="input",model="one"} 10.0' in exposed


async def test_the_failure_of_one_model_alone_is_not_recorded(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    error = ModelError("too slow", code="model_timeout")
    with pytest.raises(ModelError) as failed:
        await calls.call(Reporting(FAILURE, error=error))
    assert failed.value is error
    assert calls.log.entries == []
    assert 'agentd_model_calls_total{model="bad",status="model_timeout"} 1.0' in calls.exposed()


async def test_the_failures_before_an_answer_are_recorded(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    await calls.call(Reporting(FAILURE, SKIPPED, SUCCESS))
    [(kind, _, _, details)] = calls.log.entries
    shown: dict[str, Any] = {
        "model": "bad",
        "latency": 250.0,
        "code": "model_timeout",
        "message": "too slow",
        "cost": 0.125,
    }
    assert kind == MODEL_FAILED
    assert {name: details[name] for name in shown} == shown
    assert len(details["mark"]) == 8


async def test_the_failures_of_all_models_are_recorded(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    with pytest.raises(ModelError):
        await calls.call(
            Reporting(FAILURE, FAILURE, error=ModelError("both", code="model_timeout"))
        )
    marks = {details["mark"] for _, _, _, details in calls.log.entries}
    assert len(marks) == 2


async def test_an_answer_is_kept_even_if_its_failures_cannot_be_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(tmp_path)
    calls.log.failing = True
    assert await calls.call(Reporting(FAILURE, SUCCESS)) is GOOD
    assert "was not recorded: no server" in caplog.text


def test_a_cached_answer_is_measured_as_such(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    cached = replace(GOOD, cached=True, cost=0.0)
    model_call.measure(calls.bench.services.metrics, replace(SUCCESS, completion=cached))
    assert 'agentd_model_calls_total{model="good",status="cached"} 1.0' in calls.exposed()


def test_an_attempt_in_a_message_says_only_what_there_is() -> None:
    assert model_call.as_payload(SUCCESS) == {"model": "good", "latency": 1500.0}
    assert model_call.as_payload(SKIPPED) == {
        "model": "cold",
        "latency": 0.0,
        "code": "model_overloaded",
        "message": "",
    }


class Waiting(ScriptedModel):
    """A model that waits for a server twice, for the same reason, and once for another."""

    async def complete(
        self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
    ) -> Completion:
        assert request.on_wait
        for reason in ("no connection", "no connection", "loading"):
            await request.on_wait(reason)
        return await super().complete(request, on_delta)


async def test_what_a_call_waits_for_is_recorded_once_each(tmp_path: Path) -> None:
    calls = Calls(tmp_path)
    await calls.call(Waiting(GOOD))
    assert [(kind, details["reason"]) for kind, _, _, details in calls.log.entries] == [
        (MODEL_AWAITED, "no connection"),
        (MODEL_AWAITED, "loading"),
    ]


async def test_a_wait_that_cannot_be_recorded_costs_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(tmp_path)
    calls.log.failing = True
    assert (await calls.call(Waiting(GOOD))).text == "hello"
    assert "a task waits: no connection" in caplog.text
    assert "the wait was not recorded: no server" in caplog.text
