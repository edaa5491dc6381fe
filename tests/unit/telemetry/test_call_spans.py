"""Each attempt of a call is a span of its own, also one that is ended from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import ModelError, NotCalled
from agentd.models.failover import FailoverModel
from agentd.models.port import ChatRequest, Completion
from agentd.run import model_call
from agentd.telemetry.call_spans import CallSpans
from tests.recorded_spans import Recording, recorded, said
from tests.unit.workbench import MANIFEST, ScriptedModel, Workbench, revision_of

REQUEST = ChatRequest([{"role": "user", "content": "hello"}], {}, 10.0, agent="me")


async def call(folder: Path, model: Any, on_delta: Callable[[str], None] | None = None) -> Any:
    bench = Workbench(revision_of(folder, MANIFEST))
    context = bench.context(bench.task().message)
    return await model_call.call(model, REQUEST, context, on_delta)


async def test_an_answer_that_is_streamed_has_its_first_chunk(tmp_path: Path) -> None:
    pieces: list[str] = []
    with recorded() as found:
        await call(tmp_path, ScriptedModel("hello you"), pieces.append)
    span = found.one("chat mock/m")
    assert pieces == ["hello", "you"]
    assert said(span)["gen_ai.request.stream"]
    assert said(span)["gen_ai.response.time_to_first_chunk"] >= 0
    assert found.broken() == []


async def test_what_failed_over_is_two_spans(tmp_path: Path) -> None:
    failing = ScriptedModel(ModelError("too busy", code="model_overloaded"), name="mock/a")
    model = FailoverModel([failing, ScriptedModel("hi", name="mock/b")])
    with recorded() as found:
        await call(tmp_path, model)
    first, second = found.spans
    assert [first.name, second.name] == ["chat mock/a", "chat mock/b"]
    assert said(first)["error.type"] == "model_overloaded"
    assert (first.status.is_unset, second.status.is_unset) == (False, True)
    assert found.broken() == []


async def test_a_model_that_was_not_called_has_no_span(tmp_path: Path) -> None:
    busy = ScriptedModel(NotCalled("no slot", code="model_busy"), name="mock/a")
    model = FailoverModel([busy, ScriptedModel("hi", name="mock/b")])
    with recorded() as found:
        await call(tmp_path, model)
    assert [span.name for span in found.spans] == ["chat mock/b"]


async def test_a_call_that_is_cancelled_has_a_span(tmp_path: Path) -> None:
    with recorded() as found, pytest.raises(asyncio.CancelledError):
        await call(tmp_path, ScriptedModel(asyncio.CancelledError()))
    assert said(found.one("chat mock/m"))["error.type"] == "cancelled"


def test_a_call_that_is_not_streamed_stays_so() -> None:
    spans = CallSpans(Recording().tracer, REQUEST, None)
    assert spans.on_delta is None


async def test_a_first_chunk_is_that_of_its_own_attempt(tmp_path: Path) -> None:
    class Breaking(ScriptedModel):
        async def complete(
            self, request: ChatRequest, on_delta: Callable[[str], None] | None = None
        ) -> Completion:
            assert on_delta
            on_delta("half")
            raise ModelError("broken off", code="model_broken")

    with recorded() as found, pytest.raises(ModelError):
        await call(tmp_path, Breaking(), [].append)
    assert "gen_ai.response.time_to_first_chunk" in said(found.one("chat"))
