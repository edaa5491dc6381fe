"""The tokens of a call are estimated, and a request is kept within the sender's limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import Undeliverable
from agentd.models.estimate import expected, message_tokens, within
from agentd.models.port import ChatRequest, Usage


def request(content: Any = "x" * 400, **parameters: Any) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": content}], parameters, 10)


def test_a_token_has_four_bytes_and_an_answer_a_thousand_tokens() -> None:
    assert expected(request()) == Usage(104, 1_000)
    assert expected(request("é" * 200)) == Usage(104, 1_000)


@pytest.mark.parametrize(
    ("parameters", "output"),
    [
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 60}, 60),
        ({"max_completion_tokens": 60, "max_tokens": 50}, 50),
        ({"max_tokens": 50, "n": 3}, 150),
        ({"max_tokens": "many"}, 1_000),
        ({"max_tokens": True}, 1_000),
        ({"max_tokens": -1}, 1_000),
    ],
)
def test_the_output_is_what_the_request_allows(parameters: dict[str, Any], output: int) -> None:
    assert expected(request(**parameters)).output_tokens == output


def test_an_image_counts_the_same_whatever_its_size() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:" + "A" * 1_000_000}}
    content = [{"type": "text", "text": "x" * 400}, picture]
    assert expected(request(content)).input_tokens == 1_104


def test_a_document_counts_by_its_pages() -> None:
    def tokens(size: int) -> int:
        data = "data:application/pdf;base64," + "A" * (size * 4 // 3)
        return message_tokens({"content": [{"type": "file", "file": {"file_data": data}}]})

    assert tokens(3_000) == 1_004
    assert tokens(1_200_000) == 30_004


def test_tools_are_part_of_the_prompt() -> None:
    tool = {"type": "function", "function": {"name": "f" * 400}}
    with_tool = ChatRequest([{"role": "user", "content": "x"}], {}, 10, tools=[tool])
    assert expected(with_tool).input_tokens > 100


@given(
    st.none() | st.booleans() | st.text(st.characters()) | st.lists(st.none() | st.text()),
    st.dictionaries(st.sampled_from(["n", "max_tokens"]), st.none() | st.text() | st.integers()),
)
def test_anything_can_be_estimated(content: Any, parameters: dict[str, Any]) -> None:
    usage = expected(request(content, **parameters))
    assert usage.input_tokens >= 0
    assert usage.output_tokens >= 1


def test_the_output_is_limited_to_what_the_prompt_leaves() -> None:
    assert within(request(), 504).parameters == {"max_tokens": 400}
    assert within(request(max_tokens=50), 504).parameters == {"max_tokens": 50}
    lowered = within(request(max_completion_tokens=900, seed=1), 504)
    assert lowered.parameters == {"max_completion_tokens": 400, "seed": 1}


def test_a_prompt_over_the_limit_is_refused() -> None:
    with pytest.raises(Undeliverable, match="maxTokens is 104, and the prompt alone") as refused:
        within(request(), 104)
    assert refused.value.code == "budget"


def test_tool_calls_count_as_text_and_not_as_pictures() -> None:
    function = {"name": "f", "arguments": "x" * 400}
    call = {"id": "1", "type": "function", "function": function}
    alone = message_tokens({"content": "hi"})

    assert 100 < message_tokens({"content": "hi", "tool_calls": [call]}) - alone < 150
