"""Which of an agent's models a message gets, and what its prompts and expressions can name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from agentd.errors import ModelError, TaskError
from agentd.models.failover import FailoverModel
from agentd.models.port import ChatRequest, Model
from agentd.protocol.message import AgentIdentity, AgentMessage, Payload, new
from agentd.run.revision import Revision
from tests.unit.workbench import ScriptedModel, revision_of

HELLO = ChatRequest([{"role": "user", "content": "hello"}], {}, 10)
IMAGE = {"parts": [{"type": "image", "url": "https://example.org/x.png"}]}
TWO = """
description: Scores texts.
capabilities: [analysis, scoring]
instructions: Hi.
model:
  - {name: mock/echo, when: "content == 'short'"}
  - {name: mock/echo, parameters: {temperature: 0}}
"""


def message(content: Any = "hello", model: str | None = None) -> AgentMessage:
    return new("task", Payload(content=content, model=model), source=AgentIdentity(id="maria"))


def revision(folder: Path, manifest: str, **fields: Any) -> Revision:
    made = revision_of(folder, manifest, ScriptedModel(name="a"), ScriptedModel(name="b"))
    return Revision(made.spec, made.models, **fields)


async def called(model: Model) -> str:
    """The name of the model that answers."""
    return (await model.complete(HELLO)).model


async def test_every_model_is_tried_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    plain = revision(tmp_path, "capabilities: [analysis]\ninstructions: Hi.")
    assert plain.model is plain.models[0]
    assert await called(plain.model_for(message())) == "a"
    cast("ScriptedModel", plain.models[0]).answers = [
        ModelError("busy", code="model_overloaded", retryable=True)
    ]
    assert await called(plain.model_for(message())) == "b"


async def test_a_mock_that_is_alone_is_called_itself(tmp_path: Path) -> None:
    mock = revision_of(tmp_path, "capabilities: [analysis]\ninstructions: Hi.", ScriptedModel())
    assert mock.model_for(message()) is mock.model
    real = ScriptedModel(name="real")
    real.is_mock = False
    alone = Revision(mock.spec, (real,))
    # Its server may be away for a while.
    assert isinstance(alone.model_for(message()), FailoverModel)


async def test_a_sender_may_choose_one_of_the_models(tmp_path: Path) -> None:
    plain = revision(tmp_path, "capabilities: [analysis]\ninstructions: Hi.")
    assert await called(plain.model_for(message(model="b"))) == "b"
    with pytest.raises(ModelError) as refused:
        plain.model_for(message(model="c"))
    assert refused.value.code == "model_not_allowed"
    assert str(refused.value) == "payload.model is 'c', but me has a, b"


async def test_a_model_whose_condition_does_not_hold_is_left_out(tmp_path: Path) -> None:
    conditional = revision(tmp_path, TWO)
    assert await called(conditional.model_for(message("short"))) == "a"
    assert await called(conditional.model_for(message("a long text"))) == "b"


async def test_a_message_that_no_condition_holds_for_has_no_model(tmp_path: Path) -> None:
    manifest = TWO.replace("parameters: {temperature: 0}", "when: \"content == 'long'\"")
    with pytest.raises(TaskError) as refused:
        revision(tmp_path, manifest).model_for(message("other"))
    assert refused.value.code == "no_model"


async def test_an_image_is_shown_only_to_models_that_take_images(tmp_path: Path) -> None:
    manifest = "capabilities: [analysis]\ninstructions: Hi."
    half = revision(tmp_path, manifest, blind=frozenset({"a"}))
    assert await called(half.model_for(message(IMAGE))) == "b"
    assert await called(half.model_for(message("hello"))) == "a"
    blind = revision(tmp_path, manifest, blind=frozenset({"a", "b"}))
    with pytest.raises(TaskError, match="a and b takes no images") as refused:
        blind.model_for(message(IMAGE))
    assert refused.value.code == "unsupported_part"
    with pytest.raises(TaskError, match="and b takes no images"):
        blind.model_for(message(IMAGE, model="b"))


def test_a_prompt_can_name_the_agent_and_every_field_of_the_message(tmp_path: Path) -> None:
    sent = message({"a": 1})
    values = revision(tmp_path, TWO).message_context(sent, "b")
    assert values["agent"] == {
        "name": "me",
        "description": "Scores texts.",
        "capabilities": ["analysis", "scoring"],
        "model": "b",
    }
    assert values["content"] == {"a": 1}
    assert values["context"]["conversationId"] == sent.context.conversation_id
    assert values["message"]["source"] == {"id": "maria", "type": "external"}


@pytest.mark.parametrize(
    "names", [{"agent"}, {"content"}, {"context", "agent"}, {"message"}, {"now"}, set[str]()]
)
def test_only_the_values_that_are_named_are_made(tmp_path: Path, names: set[str]) -> None:
    made, sent = revision(tmp_path, TWO), message({"a": 1})
    whole = made.message_context(sent, "b")
    expected = {name: value for name, value in whole.items() if name in names}
    assert made.message_context(sent, "b", names) == expected
