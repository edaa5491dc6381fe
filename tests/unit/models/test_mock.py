"""The echo repeats its prompt, and a script plays the same turns for the same messages."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import ModelError
from agentd.manifest.agent import ModelRef
from agentd.models.choose import Models
from agentd.models.mock import EchoModel, ScriptModel
from agentd.models.mock_script import parse
from agentd.models.port import CORRECTION, ChatRequest, Completion, Model

Message = Mapping[str, Any]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str = "") -> Message:
    return {"role": "assistant", "content": text}


def request(*messages: Message, timeout: float = 5.0, **parameters: Any) -> ChatRequest:
    return ChatRequest(messages or (user("hi"),), parameters, timeout)


def script(turns: Any) -> ScriptModel:
    return ScriptModel(parse(turns))


async def failure(model: Model, *messages: Message, timeout: float = 5.0) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await model.complete(request(*messages, timeout=timeout))
    return caught.value


async def test_the_echo_repeats_the_system_and_the_user_message() -> None:
    messages = ({"role": "system", "content": "You are\n   brief."}, user("What is a falcon?"))
    answer = await EchoModel().complete(request(*messages))
    assert answer.text == (
        '[mock/echo] I was told: "You are brief." and asked: "What is a falcon?"'
    )
    assert answer.model == "mock/echo"
    assert answer.finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 13)
    assert answer.cost == 0.0


async def test_the_echo_repeats_the_last_user_message_and_shortens_it() -> None:
    system, last = "long " * 10_000, "word " * 1_000_000
    messages = ({"role": "system", "content": system}, user("first"), assistant(), user(last))
    text = (await EchoModel().complete(request(*messages))).text
    assert "first" not in text
    assert len(text) < 1500
    assert text.endswith('…"')


async def test_the_echo_names_images() -> None:
    image = {"url": "data:image/png;base64," + "A" * 16_000}
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": image}]
    answer = await EchoModel().complete(request({"role": "user", "content": parts}))
    assert 'asked: "look [image/png, 12 kB]"' in answer.text
    assert answer.usage
    assert answer.usage.input_tokens < 10


async def test_the_echo_counts_the_earlier_messages() -> None:
    text = (await EchoModel().complete(request(user("one"), assistant(), user("two")))).text
    assert text.endswith('and asked, after 2 earlier messages: "two"')


@given(st.text(max_size=200).filter(str.strip), st.integers(1, 9) | st.none())
def test_the_pieces_joined_are_the_text(text: str, chunks: int | None) -> None:
    async def stream() -> tuple[Completion, list[str]]:
        pieces: list[str] = []
        turn = {"text": text} | ({"chunks": chunks} if chunks else {})
        return await script([turn]).complete(request(), pieces.append), pieces

    answer, pieces = asyncio.run(stream())
    assert "".join(pieces) == answer.text == text
    assert all(pieces)
    assert chunks is None or len(pieces) <= chunks


async def test_a_turn_can_be_cut_off_as_a_real_answer_is() -> None:
    model = script([{"text": "Once upon a", "finish": "length"}])
    answer = await model.complete(request(max_tokens=2))
    assert (answer.finish_reason, answer.cut) == ("length", "max_tokens")
    calling = script([{"tool_calls": [{"name": "wipe"}], "finish": "length"}])
    assert (await failure(calling)).code == "model_cut_off"


async def test_turns_follow_the_assistant_messages_of_this_task() -> None:
    call = {"name": "get_weather", "arguments": {"city": "Bonn"}}
    model = script([{"tool_calls": [call]}, "It rains."])
    first = await model.complete(request(user("before"), assistant("x"), user("weather?")))
    assert first.finish_reason == "tool_calls"
    assert [(c.id, c.name, c.arguments) for c in first.tool_calls] == [
        ("call_0", "get_weather", '{"city": "Bonn"}')
    ]
    tool = {"role": "tool", "content": "rain", "tool_call_id": "call_0"}
    second = await model.complete(request(user("weather?"), assistant(), tool))
    assert second.text == "It rains."
    again = await failure(model, user("weather?"), assistant(), tool, assistant("It rains."))
    assert again.code == "model_config"
    assert "the script has 2 turns for this message, and all were played" in str(again)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_many_tasks_can_share_a_script(played: Sequence[int]) -> None:
    model = script(["zero", {"text": "one", "latency": "1ms"}, "two", "three"])

    async def ask_all() -> list[Completion]:
        tasks = [request(user("go"), *[assistant()] * count) for count in played]
        return await asyncio.gather(*(model.complete(task) for task in tasks))

    expected = ["zero", "one", "two", "three"]
    answers = asyncio.run(ask_all())
    assert [answer.text for answer in answers] == [expected[count] for count in played]


async def test_the_last_user_message_chooses_the_case() -> None:
    model = script(
        {
            "cases": [
                {"match": r"\bweather\b", "turns": ["rain"]},
                {"match": "not valid", "turns": ["corrected"]},
                {"turns": ["whatever"]},
            ]
        }
    )
    assert (await model.complete(request(user("Weather, please")))).text == "rain"
    assert (await model.complete(request(user("weather"), user("x")))).text == "whatever"
    feedback = user("Your answer is not valid: …")
    answer = await model.complete(request(user("weather"), assistant("rain"), feedback))
    assert answer.text == "corrected"


async def test_a_correction_is_not_a_new_message() -> None:
    correction = user(f"{CORRECTION}no JSON")
    model = script(["first", "second"])
    answer = await model.complete(request(user("go"), assistant("first"), correction))
    assert answer.text == "second"
    text = (await EchoModel().complete(request(user("go"), assistant(), correction))).text
    assert text.endswith('and asked: "go"')


async def test_a_message_that_no_case_matches_is_an_error() -> None:
    error = await failure(script({"cases": [{"match": "a", "turns": ["b"]}]}), user("zzz"))
    assert (error.code, error.retryable) == ("model_config", False)
    assert str(error) == (
        'mock/script: no case of the script matches "zzz" (add a case without `match`)'
    )


async def test_scripted_errors_are_model_errors() -> None:
    limited = {"error": {"status": 429, "message": "slow down", "retry_after": 2}}
    error = await failure(script([limited]))
    assert (error.code, error.status, error.retry_after) == ("model_rate_limited", 429, 2.0)
    assert error.retryable
    assert str(error) == "mock/script: slow down"
    error = await failure(script([{"error": {"code": "model_auth"}}]))
    assert (error.code, error.retryable) == ("model_auth", False)


async def test_a_stream_can_break_after_its_text() -> None:
    pieces: list[str] = []
    model = script([{"text": "half an", "error": {"code": "model_truncated"}}])
    with pytest.raises(ModelError):
        await model.complete(request(), pieces.append)
    assert "".join(pieces) == "half an"


async def test_a_latency_over_the_timeout_is_a_timeout() -> None:
    error = await failure(script([{"text": "x", "latency": "1h"}]), timeout=0.01)
    assert error.code == "model_timeout"


async def test_the_timeout_of_the_model_counts_too() -> None:
    script = [{"text": "x", "latency": "1h"}]
    ref = ModelRef(name="mock/script", script=script, timeout=0.01)
    error = await failure(Models({}).open(ref), timeout=60)
    assert error.code == "model_timeout"


async def test_what_on_delta_raises_passes_through() -> None:
    def on_delta(_piece: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await EchoModel().complete(request(), on_delta)


async def test_usage_reasoning_and_a_price_can_be_scripted() -> None:
    turn = {"text": "x", "reasoning": "hm", "usage": {"input": 1000, "output": 500, "reasoning": 9}}
    price = {"input": 2.0, "output": 8.0}
    ref = {"name": "mock/script", "script": [turn], "price": price}
    model = Models({}).open(ModelRef.model_validate(ref))
    answer = await model.complete(request())
    assert answer.reasoning == "hm"
    assert answer.usage is not None
    assert answer.usage.reasoning_tokens == 9
    assert answer.cost == pytest.approx(0.006)


def test_a_mock_needs_neither_aiohttp_nor_litellm() -> None:
    code = (
        "import asyncio, sys\n"
        "from agentd.manifest.agent import ModelRef\n"
        "from agentd.models.port import ChatRequest\n"
        "from agentd.models.choose import Models\n"
        "model = Models().open(ModelRef(name='mock/echo'))\n"
        "asyncio.run(model.complete(ChatRequest([{'role': 'user', 'content': 'x'}], {}, 5)))\n"
        "assert not {'litellm', 'aiohttp'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
