"""Answers of `/v1/chat/completions`, as openai's own types read them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agentd.doors.openai.answer import Answer, Usage
from agentd.doors.openai.chat_response import END, Chunks, completion
from agentd.doors.openai.forward_text import Diverged
from agentd.doors.refusal import Refusal
from agentd.protocol.fields import SendersCall

CALL = SendersCall(id="a", name="now", arguments="{}")
USAGE = Usage(input=7, output=5, cached=0, written=0, reasoning=2)


def chunks(*events: Iterable[bytes]) -> list[Any]:
    """The data of all events, without the end, which must be there."""
    sent = [data for event in events for data in event]
    assert sent.pop() == END
    return [json.loads(data.removeprefix(b"data: ")) for data in sent]


def test_a_completion() -> None:
    found = ChatCompletion.model_validate(
        completion("t1", "writer", Answer(data="Hi.", usage=USAGE, revision="r1"))
    )
    assert (found.id, found.model, found.system_fingerprint) == ("chatcmpl-t1", "writer", "r1")
    [choice] = found.choices
    assert (choice.message.content, choice.finish_reason) == ("Hi.", "stop")
    assert found.usage
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (7, 12)
    assert found.usage.prompt_tokens_details is None


def test_an_unknown_usage_is_left_out() -> None:
    assert "usage" not in completion("t1", "writer", Answer(data="Hi."))


def test_calls_are_given_back() -> None:
    found = ChatCompletion.model_validate(completion("t1", "m", Answer(data="", calls=(CALL,))))
    [choice] = found.choices
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    assert choice.message.tool_calls
    assert choice.message.tool_calls[0].id == "a"


def test_an_answer_that_was_cut_off_says_so() -> None:
    assert completion("t1", "m", Answer(data="Hi", cut=True))["choices"][0]["finish_reason"] == (
        "length"
    )


def test_the_chunks_of_a_stream() -> None:
    stream = Chunks("t1", "writer", usage=False)
    sent = chunks(
        stream.piece("Hi ", turn=1),
        stream.piece("there", turn=1),
        stream.end(Answer(data="Hi there", usage=USAGE)),
    )
    for each in sent:
        ChatCompletionChunk.model_validate(each)
        assert "finish_reason" in each["choices"][0]
        assert "usage" not in each
    deltas = [each["choices"][0]["delta"] for each in sent]
    assert deltas == [{"role": "assistant", "content": "Hi "}, {"content": "there"}, {}]
    reasons = [each["choices"][0]["finish_reason"] for each in sent]
    assert reasons == [None, None, "stop"]


def test_a_client_that_wants_it_gets_the_usage_last() -> None:
    stream = Chunks("t1", "writer", usage=True)
    sent = chunks(stream.end(Answer(data="Hi", usage=USAGE)))
    assert [each["usage"] for each in sent[:-1]] == [None, None]
    assert sent[-1]["choices"] == []
    assert sent[-1]["usage"]["total_tokens"] == 12
    unknown = chunks(Chunks("t1", "writer", usage=True).end(Answer(data="Hi")))
    assert unknown[-1]["usage"] is None


def test_the_calls_of_a_stream_have_their_place() -> None:
    sent = chunks(Chunks("t1", "m", usage=False).end(Answer(data="", calls=(CALL, CALL))))
    calls = sent[0]["choices"][0]["delta"]["tool_calls"]
    assert [(each["index"], each["function"]["name"]) for each in calls] == [(0, "now"), (1, "now")]
    assert sent[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_stream_that_fails_ends_with_an_error() -> None:
    stream = Chunks("t1", "m", usage=False)
    begun = stream.piece("Hi", turn=1)
    *_, last = chunks(begun, stream.end(Answer(error=Refusal(503, "model_overloaded", "away"))))
    assert last["error"]["message"] == "away"


def test_a_repetition_that_differs_is_noticed() -> None:
    stream = Chunks("t1", "m", usage=False)
    list(stream.piece("Hi", turn=1))
    with pytest.raises(Diverged) as noticed:
        list(stream.end(Answer(data="No")))
    [last] = chunks(stream.failed(noticed.value))
    assert last["error"]["code"] == "diverged"
