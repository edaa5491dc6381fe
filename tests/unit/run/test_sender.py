"""What a sender decides: parameters, and tools: who may bring them, what is given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentd.errors import ModelError, TaskError
from agentd.models.port import Completion, ToolCall
from agentd.protocol.fields import AgentIdentity, Context, HistoryMessage, Payload, SendersTool
from agentd.protocol.message import AgentMessage, new
from agentd.run.sender import SendersTools, senders_parameters
from tests.unit.workbench import MANIFEST, ScriptedModel, revision_of

WEATHER = {"name": "weather", "description": "The weather.", "parameters": {"type": "object"}}
CALLED = {"role": "assistant", "calls": [{"id": "a", "name": "weather", "arguments": "{}"}]}
ANSWERED = {"role": "tool", "callId": "a", "content": "sun"}


def task(history: Any = (), **payload: Any) -> AgentMessage:
    turns = tuple(HistoryMessage.model_validate(turn) for turn in history)
    context = Context(conversation_id="c", history=turns)
    content = Payload.model_validate({"content": "hi", **payload})
    return new("task", content, source=AgentIdentity(id="me"), context=context)


def tools_of(folder: Path, message: AgentMessage, more: str = "\nclient_tools: true") -> Any:
    manifest = revision_of(folder, MANIFEST + more, ScriptedModel()).spec.manifest
    return SendersTools.of(manifest, message)


def test_the_model_is_shown_them(tmp_path: Path) -> None:
    tools = tools_of(tmp_path, task(tools=[WEATHER, {"name": "now"}]))
    assert tools.names == ["weather", "now"]
    assert tools.schemas[0]["function"]["description"] == "The weather."
    assert tools.schemas[1]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_what_followed_the_content_is_sent_again(tmp_path: Path) -> None:
    tools = tools_of(tmp_path, task(continuation=[CALLED, ANSWERED]))
    assert [turn["role"] for turn in tools.turns] == ["assistant", "tool"]
    assert tools.taken == {"a"}


@pytest.mark.parametrize(
    "message",
    [
        task(tools=[WEATHER]),
        task(continuation=[CALLED, ANSWERED]),
        task(history=[{"role": "user", "content": "x"}, CALLED, ANSWERED]),
    ],
)
def test_an_agent_takes_none_unless_its_manifest_says_so(
    tmp_path: Path, message: AgentMessage
) -> None:
    with pytest.raises(TaskError, match="client_tools: true") as refused:
        tools_of(tmp_path, message, "")
    assert refused.value.code == "client_tools"
    tools_of(tmp_path, message)


@pytest.mark.parametrize(
    ("names", "own"), [(["weather"], ["weather"]), (["weather", "weather"], [])]
)
def test_no_two_tools_have_the_same_name(tmp_path: Path, names: list[str], own: list[str]) -> None:
    tools = tools_of(tmp_path, task(tools=[{"name": name} for name in names]))
    with pytest.raises(TaskError, match="needs another name"):
        tools.require_own_names(own)


def test_only_calls_of_the_sender_s_tools_are_given_back(tmp_path: Path) -> None:
    tools = tools_of(tmp_path, task(tools=[WEATHER]))
    mine, its = ToolCall("a", "weather", "{}"), ToolCall("b", "search", "{}")
    both = tools.called_in(Completion("Hm.", "m", "tool_calls", (its, mine)))
    assert both is not None
    assert (both.text, both.tool_calls) == ("Hm.", (mine,))
    assert tools.called_in(Completion("", "m", "tool_calls", (its,))) is None


def test_a_sender_sets_what_concerns_its_own_answer() -> None:
    parameters = {"temperature": 0.2, "max_tokens": 10}
    assert senders_parameters(Payload(parameters=parameters)) == parameters


@pytest.mark.parametrize("name", ["api_key", "extra_headers", "tool_choice", "n"])
def test_a_sender_sets_nothing_else(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name}.*temperature") as refused:
        senders_parameters(Payload(parameters={name: "x"}))
    assert refused.value.code == "parameter_not_allowed"


def test_a_sender_with_tools_may_say_how_they_are_called() -> None:
    payload = Payload(parameters={"tool_choice": "required"}, tools=(SendersTool(name="a"),))
    assert senders_parameters(payload) == {"tool_choice": "required"}
