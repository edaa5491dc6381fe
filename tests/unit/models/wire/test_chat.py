"""What goes back to a model is what any server takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.models.port import Completion, ToolCall
from agentd.models.wire.chat import assistant_turn, call_id, joined, sendable, tool_turn
from agentd.models.wire.tool_names import fitting

CALL = ToolCall("a", "f", '{"x": 1}', own={"extra_content": "sig", "function": {"signature": "s"}})
OWN = {"reasoning_content": "Hm.", "thinking_blocks": [{"type": "thinking", "signature": "s"}]}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def turns(*calls: ToolCall, model: str = "m", to: str = "m", own: bool = True) -> list[Any]:
    """The turns of `model` that made these calls, and their answers, as `to` is sent them."""
    completion = Completion("", model, "tool_calls", calls, own=OWN)
    answers = [tool_turn(call, "done") for call in calls]
    return sendable([user("hi"), assistant_turn(completion), *answers], to, own=own)[1:]


def test_a_model_gets_its_own_fields_back() -> None:
    asked, answer = turns(CALL)
    assert asked == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "f", "arguments": '{"x": 1}', "signature": "s"},
                "extra_content": "sig",
            }
        ],
        **OWN,
    }
    assert answer == {"role": "tool", "tool_call_id": "a", "content": "done"}


@pytest.mark.parametrize(
    ("to", "own", "sent_id"), [("other", True, "call00000"), ("m", False, "a")]
)
def test_nobody_else_gets_them(to: str, own: bool, sent_id: str) -> None:
    asked, answer = turns(CALL, to=to, own=own)
    function = {"name": "f", "arguments": '{"x": 1}'}
    call = {"id": sent_id, "type": "function", "function": function}
    assert asked == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert answer["tool_call_id"] == sent_id


def test_ids_are_unique_where_two_models_have_made_turns() -> None:
    first = Completion("", "a", "tool_calls", (ToolCall("x", "f", "{}"), ToolCall("y", "f", "{}")))
    second = Completion("", "b", "tool_calls", (ToolCall("z", "f", "{}"),))
    chat = [user("hi")]
    for completion in (first, second):
        chat.append(assistant_turn(completion))
        chat += [tool_turn(call, "done") for call in completion.tool_calls]
    for model, mine in (("a", {"x", "y"}), ("b", {"z"}), ("c", set[str]())):
        sent = sendable(chat, model)
        asked = [call["id"] for each in sent for call in each.get("tool_calls", ())]
        answered = [each["tool_call_id"] for each in sent if each["role"] == "tool"]
        assert asked == answered
        assert len(set(asked)) == 3
        assert mine <= set(asked)


@pytest.mark.parametrize("arguments", ['{"x": ', "", "[1]", "1", "null", '{"x": NaN}', "x" * 100])
def test_arguments_that_are_no_json_object_are_put_right(arguments: str) -> None:
    [asked, _] = turns(ToolCall("a", "f", arguments))
    assert json.loads(asked["tool_calls"][0]["function"]["arguments"]) == {}


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("get_weather", "get_weather"),
        ("functions.get weather", "functions_get_weather"),
        ("wetter_für", "wetter_f_r"),
        ("x" * 65, fitting("x" * 65)),
        ("", "_"),
    ],
)
def test_made_up_names_are_put_right(name: str, sent: str) -> None:
    [asked, _] = turns(ToolCall("a", name, "{}"))
    assert asked["tool_calls"][0]["function"]["name"] == sent


def test_neighbouring_turns_of_one_role_become_one() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    chat = [
        {"role": "system", "content": "Be brief."},
        user("one"),
        user("two"),
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b"},
        user("three"),
        user([picture]),
    ]
    assert sendable(chat, "m") == [
        {"role": "system", "content": "Be brief."},
        user("one\n\ntwo"),
        {"role": "assistant", "content": "a\n\nb"},
        user([{"type": "text", "text": "three"}, picture]),
    ]


def test_answers_of_tools_stay_apart_and_are_never_empty() -> None:
    other = ToolCall("b", "f", "{}")
    chat = [assistant_turn(Completion("", "m", "x", (CALL, other)))]
    chat += [tool_turn(CALL, ""), tool_turn(other, "done")]
    assert [each["content"] for each in sendable(chat, "m")] == [None, "(no output)", "done"]


def test_a_chat_that_needs_nothing_is_the_same_chat() -> None:
    chat = [{"role": "system", "content": "x"}, user("hi")]
    assert all(sent is given for sent, given in zip(sendable(chat, "m"), chat, strict=True))


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("a", "", "a"),
        (None, "b", "b"),
        ([{"x": 1}], "b", [{"x": 1}, {"type": "text", "text": "b"}]),
    ],
)
def test_contents_are_joined(first: Any, second: Any, both: Any) -> None:
    assert joined(first, second) == both


def test_an_id_of_ours_is_one_that_mistral_takes() -> None:
    assert len(call_id(1, 0)) == 9
    assert call_id(12, 3).isalnum()
