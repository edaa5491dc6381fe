"""The mocks answer visibly and repeatably, and a wrong script says where it is wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import ModelError
from agentd.manifest.agent import ModelRef
from agentd.models.choose import Models
from agentd.models.mock import EchoModel, ScriptModel
from agentd.models.mock_script import ScriptError, parse
from agentd.models.port import ChatRequest, Completion, Model

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Ref:
    """A model as no manifest would let it through."""

    name: str = "mock/script"
    script: Any = None
    price: None = None
    api_base: str | None = None
    api_key: None = None
    timeout: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rate: None = None
    tokens: None = None
    cache: None = None


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


async def test_the_echo_shows_what_it_was_told_and_asked() -> None:
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


async def test_the_echo_asks_for_the_last_user_turn_and_cuts_what_is_long() -> None:
    told, asked = "long " * 10_000, "word " * 1_000_000
    messages = ({"role": "system", "content": told}, user("first"), assistant(), user(asked))
    text = (await EchoModel().complete(request(*messages))).text
    assert "first" not in text
    assert len(text) < 1500
    assert text.endswith('…"')


async def test_the_echo_reads_content_parts() -> None:
    image = {"url": "data:image/png;base64," + "A" * 16_000}
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": image}]
    answer = await EchoModel().complete(request({"role": "user", "content": parts}))
    assert 'asked: "look [image/png, 12 kB]"' in answer.text
    assert answer.usage
    assert answer.usage.input_tokens < 10


async def test_the_echo_says_how_much_came_before() -> None:
    text = (await EchoModel().complete(request(user("one"), assistant(), user("two")))).text
    assert text.endswith('and asked, after 2 earlier messages: "two"')


@given(st.text(max_size=200), st.integers(1, 9) | st.none())
def test_the_pieces_joined_are_the_text(text: str, chunks: int | None) -> None:
    async def stream() -> tuple[Completion, list[str]]:
        pieces: list[str] = []
        turn = {"text": text} | ({"chunks": chunks} if chunks else {})
        return await script([turn]).complete(request(), pieces.append), pieces

    answer, pieces = asyncio.run(stream())
    assert "".join(pieces) == answer.text == text
    assert all(pieces)
    assert chunks is None or len(pieces) <= chunks


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
    assert "2 turns" in str(again)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_many_tasks_share_a_script_without_disturbing_each_other(played: Sequence[int]) -> None:
    model = script(["zero", {"text": "one", "latency": "1ms"}, "two", "three"])

    async def ask_all() -> list[Completion]:
        tasks = [request(user("go"), *[assistant()] * count) for count in played]
        return await asyncio.gather(*(model.complete(task) for task in tasks))

    expected = ["zero", "one", "two", "three"]
    answers = asyncio.run(ask_all())
    assert [answer.text for answer in answers] == [expected[count] for count in played]


async def test_cases_are_chosen_by_the_last_user_turn() -> None:
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


async def test_a_message_without_a_case_is_a_clear_error() -> None:
    error = await failure(script({"cases": [{"match": "a", "turns": ["b"]}]}), user("zzz"))
    assert (error.code, error.retryable) == ("model_config", False)
    assert '"zzz"' in str(error)


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


async def test_latency_is_bounded_by_the_deadline() -> None:
    error = await failure(script([{"text": "x", "latency": "1h"}]), timeout=0.01)
    assert error.code == "model_timeout"


async def test_the_ref_s_timeout_counts_too() -> None:
    ref = Ref(script=[{"text": "x", "latency": "1h"}], timeout=0.01)
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


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (None, "script: must be a mapping"),
        ("turns.yaml", "the script turns.yaml was not read"),
        ([], "turns: must be a list of at least one"),
        ({"turn": ["x"]}, "script: unknown key `turn`; did you mean `turns`?"),
        (["fine", {"tex": "x"}], "turn 2: unknown key `tex`; did you mean `text`?"),
        ([3], "turn 1: must be a mapping"),
        ([{"text": 3}], "turn 1, text: must be a text"),
        ([{"latency": "fast"}], "turn 1, latency: must be a duration such as 200ms or 2s"),
        ([{"chunks": 0}], "turn 1, chunks: must be 1 or more"),
        ([{"tool_calls": [{}]}], "turn 1, tool_calls[0]: `name` is missing"),
        ([{"tool_calls": {}}], "turn 1, tool_calls: must be a list"),
        ([{"error": {"code": "model_auht"}}], "did you mean `model_auth`?"),
        ([{"error": {}}], "turn 1, error: needs a code or status"),
        ([{"error": {"status": 200}}], "`200` is no HTTP status of a failure"),
        ([{"usage": {"input": -1}}], "turn 1, usage, input: must be a count"),
        ({"cases": [{"match": "(", "turns": ["x"]}]}, "case 1, match: is not a regular expression"),
        ({"cases": [{"turns": [{"a": 1}]}]}, "case 1, turn 1: unknown key `a`"),
        ({"cases": [], "turns": []}, "script: has either `turns` or `cases`"),
    ],
)
def test_a_wrong_script_is_told_precisely(wrong: Any, said: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse(wrong)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ScriptError) as caught:
        parse([{"tex": 1}, {"latency": "x"}, "fine", {"error": {}}])
    assert len(caught.value.problems) == 3


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["turns", "cases", "match", "text", "error", "usage", "tool_calls", "status"]
            ),
            inner,
        )
    ),
)


@given(junk)
def test_any_script_is_cases_or_a_script_error(value: Any) -> None:
    with suppress(ScriptError):
        assert all(case.turns for case in parse(value))


def test_opening_says_what_is_wrong() -> None:
    models = Models({})
    with pytest.raises(ModelError, match="did you mean `mock/echo`") as caught:
        models.open(Ref(name="mock/ecko"))
    assert caught.value.code == "model_config"
    with pytest.raises(ModelError, match="unknown key `tex`"):
        models.open(Ref(script=[{"tex": "x"}]))
    assert models.check(Ref(name="mock/echo")) == []


def test_a_script_from_a_file_is_given_beside_its_ref() -> None:
    ref = ModelRef(name="mock/script", script="turns.yaml")
    models = Models({})
    assert models.check(ref)
    assert models.check(ref, ["hello"]) == []
    assert models.open(ref, ["hello"]).is_mock
    assert models.open(ref, ["hello"]) is models.open(ref, ["hello"])
    assert models.open(ref, ["hello"]) is not models.open(ref, ["goodbye"])


@pytest.mark.parametrize("name", ["model", "messages", "stream", "api_key", "api_base", "timeout"])
def test_parameters_cannot_undo_the_call(name: str) -> None:
    with pytest.raises(ModelError, match=f"`{name}` is not a parameter") as caught:
        ChatRequest((user("hi"),), {name: "x"}, 5.0)
    assert caught.value.code == "model_config"


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
