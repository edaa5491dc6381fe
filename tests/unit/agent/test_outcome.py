"""Outcomes as results and as log lines."""

from __future__ import annotations

from typing import Any

from agentd.agent.outcome import Outcome, result_subject
from agentd.errors import ModelError, TaskError
from agentd.models.port import Completion, ModelAttempt, Usage
from agentd.protocol.subjects import Subject, Subjects
from agentd.run.loop import RunResult


def outcome(data: Any = "Hi.", calls: int = 0, **fields: Any) -> Outcome:
    completion = Completion("Hi.", "openai/x", "stop", **fields)
    result = RunResult(data=data, completion=completion, turns=1 + calls, calls=calls)
    return Outcome(revision="r1", model="openai/first", latency=12.34, result=result)


def test_a_success_has_the_answer_and_what_it_took() -> None:
    content = outcome(calls=2, usage=Usage(7, 5, 2), cost=0.1 + 0.2).content()

    assert content == {
        "success": True,
        "data": "Hi.",
        "error": None,
        "model": "openai/x",
        "tokens": 12,
        "cost": 0.3,
        "latency": 12.3,
        "revision": "r1",
        "finishReason": "stop",
        "turns": 3,
        "toolCalls": 2,
        "usage": {"inputTokens": 7, "outputTokens": 5, "reasoningTokens": 2},
    }


def test_what_is_unknown_is_null_and_never_0() -> None:
    content = outcome(usage=None, cost=None).content()

    assert (content["tokens"], content["cost"]) == (None, None)
    assert "usage" not in content


def test_a_failure_has_the_error_and_the_model_that_was_to_answer() -> None:
    error = TaskError("no way", code="model_timeout", retryable=True)
    failed = Outcome(revision="r1", model="openai/first", latency=5.0, error=error)
    content = failed.content()

    assert content["error"] == {"code": "model_timeout", "message": "no way", "retryable": True}
    assert (content["success"], content["data"], content["model"]) == (False, None, "openai/first")
    assert failed.in_words() == "failed in 5 ms: model_timeout: no way"


def test_a_failure_has_what_it_has_used() -> None:
    error = ModelError("cut off", code="model_cut_off")
    error.answered, error.usage, error.cost = True, Usage(2, 3), 0.25
    failed = Outcome(revision="r1", model="openai/first", latency=5.0, error=error)
    assert (failed.content()["tokens"], failed.content()["cost"]) == (None, None)
    failed.spending.failed(error)
    content = failed.content()
    assert (content["tokens"], content["usage"]["outputTokens"], content["cost"]) == (5, 3, 0.25)
    failed.spending.failed(ModelError("late", code="model_timeout"))
    content = failed.content()
    assert (content["tokens"], content["cost"]) == (None, None)
    assert "usage" not in content


def test_a_structured_answer_may_state_its_confidence() -> None:
    content = outcome(data={"score": 1, "confidence": 0.9, "reasoning": "because"}).content()

    assert (content["confidence"], content["reasoning"]) == (0.9, "because")


def test_failed_attempts_and_cached_answers_are_shown() -> None:
    attempts = (ModelAttempt(model="a", seconds=0.5, code="model_timeout", message="late"),)
    content = outcome(attempts=attempts, cached=True).content()

    assert content["cached"] is True
    assert content["attempts"] == [
        {"model": "a", "latency": 500.0, "code": "model_timeout", "message": "late"}
    ]


def test_tokens_of_the_providers_cache_are_in_the_usage() -> None:
    usage = Usage(900, 5, 0, cache_read=800, cache_write=50)
    assert outcome(usage=usage).content()["usage"] == {
        "inputTokens": 900,
        "outputTokens": 5,
        "reasoningTokens": 0,
        "cacheReadTokens": 800,
        "cacheWriteTokens": 50,
    }


def test_a_log_line_has_what_is_known() -> None:
    assert outcome().in_words() == "answered in 12 ms"
    full = outcome(calls=1, usage=Usage(1000, 500), cost=0.0123)
    assert full.in_words() == "answered in 12 ms · 1 tool call · 1,500 tokens · $0.0123"
    assert outcome(cost=0.000042).in_words().endswith("$0.000042")
    assert "2 tool calls" in outcome(calls=2).in_words()
    assert outcome(cut="context").in_words() == "answered in 12 ms · cut off, context full"


def test_an_answer_that_was_cut_off_is_no_whole_one() -> None:
    assert outcome(cut="max_tokens").content()["cut"] == "max_tokens"
    assert "cut" not in outcome().content()


def test_a_result_is_published_beside_the_topic_of_its_task() -> None:
    task = Subject.parse("agents.dev.task.analysis.sentiment.7")

    subject = result_subject(Subjects("dev"), task, "t1")
    assert subject == "agents.dev.result.analysis.sentiment.t1"
