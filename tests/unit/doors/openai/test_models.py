"""Agents and capabilities as models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentd.doors.caller import LOCAL, Caller
from agentd.doors.openai.models import listed, target
from agentd.doors.refusal import Refusal
from agentd.errors import TaskError
from agentd.routing.registry import Replica
from tests.unit import workbench

OBJECT = {"type": "object"}


def replica(agent: str, *capabilities: str, **fields: Any) -> Replica:
    given: dict[str, Any] = {"started": 5.5, "description": f"Is {agent}.", **fields}
    return replace(workbench.replica(agent, *capabilities), **given)


ONLINE = [
    replica("writer", "writing"),
    replica("writer", "writing", started=3.0),
    replica("chat", "chat"),
    replica("other", "chat", "writing"),
]


def test_every_agent_and_every_capability_is_a_model() -> None:
    models = {each["id"]: each for each in listed(ONLINE, LOCAL)}
    assert list(models) == ["chat", "other", "writer", "chat.general", "writing"]
    assert models["writer"] == {
        "id": "writer",
        "object": "model",
        "created": 3,
        "owned_by": "agentd",
        "kind": "agent",
        "description": "Is writer.",
        "accepts": None,
    }
    assert models["writing"]["kind"] == "capability"


def test_a_key_for_some_agents_sees_what_it_may_ask() -> None:
    caller = Caller(name="k", may=frozenset({"ask"}), agents=frozenset({"writer"}))
    assert [each["id"] for each in listed(ONLINE, caller)] == ["writer"]
    with pytest.raises(Refusal, match="may not use agent 'other'"):
        target("writing", ONLINE, caller)
    assert str(target("writer", ONLINE, caller).to) == "@writer"


@pytest.mark.parametrize(
    ("model", "to"),
    [
        ("writer", "@writer"),
        ("@writer", "@writer"),
        ("writing", "writing.general"),
        ("writing.poems", "writing.poems"),
        ("chat", "@chat"),
        ("chat.general", "chat.general"),
        ("nobody", "nobody.general"),
    ],
)
def test_a_model_is_an_agent_or_a_capability(model: str, to: str) -> None:
    assert str(target(model, ONLINE, LOCAL).to) == to


@pytest.mark.parametrize("model", ["", "gpt 5", "a/b", "a.b.c", "x" * 500])
def test_a_name_that_nothing_can_have_is_an_unknown_model(model: str) -> None:
    with pytest.raises(TaskError) as refused:
        target(model, ONLINE, LOCAL)
    assert refused.value.code == "no_taker"


@pytest.mark.parametrize(
    ("accepts", "asked", "content"),
    [
        (None, '{"a": 1}', '{"a": 1}'),
        ({"type": "string"}, '{"a": 1}', '{"a": 1}'),
        (OBJECT, '{"a": 1}', {"a": 1}),
        (OBJECT, "no JSON", "no JSON"),
        (OBJECT, {"parts": []}, {"parts": []}),
    ],
)
def test_json_is_read_for_an_agent_that_accepts_more_than_text(
    accepts: Any, asked: Any, content: Any
) -> None:
    online = [replica("one", "one", accepts=accepts)]
    assert target("one", online, LOCAL).content(asked) == content


def test_pieces_of_a_value_are_of_no_use() -> None:
    online = [replica("one", "one", structured=True), replica("two", "two")]
    assert target("one", online, LOCAL).gives_values
    assert not target("two", online, LOCAL).gives_values
