"""An identical request finds the stored answer; only a complete answer is stored."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from agentd.models.limits.cache import LARGEST, Cache, key_of
from agentd.models.port import ChatRequest, Completion, ToolCall, Usage

MESSAGES = ({"role": "user", "content": "hello"},)
CALL = ToolCall("call_0", "get_weather", '{"city": "Bonn"}')


class Memory:
    """A store that keeps everything, with the seconds that it was asked for."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[bytes, float]] = {}

    async def get(self, key: str, seconds: float) -> bytes | None:
        del seconds
        return self.stored[key][0] if key in self.stored else None

    async def put(self, key: str, data: bytes, seconds: float) -> None:
        self.stored[key] = data, seconds


def answer(text: str = "yes", finish_reason: str = "stop", **fields: Any) -> Completion:
    return Completion(text, "openai/x", finish_reason, **fields)


def shared() -> tuple[Cache, Memory]:
    cache, memory = Cache(), Memory()
    cache.share(memory)
    return cache, memory


async def test_a_stored_answer_comes_back_without_usage_and_cost() -> None:
    cache, memory = shared()
    paid = answer(
        "yes", "tool_calls", tool_calls=(CALL,), usage=Usage(9, 9), cost=0.5, reasoning="hm"
    )

    await cache.keep("key", paid, 60.0)
    known = await cache.find("key", 60.0)

    assert known == answer(
        "yes",
        "tool_calls",
        tool_calls=(CALL,),
        usage=Usage(0, 0),
        cost=0.0,
        reasoning="hm",
        cached=True,
    )
    assert memory.stored["key"][1] == 60.0


async def test_an_unknown_key_has_no_answer() -> None:
    cache, _ = shared()

    assert await cache.find("key", 60.0) is None


async def test_without_a_store_nothing_is_kept() -> None:
    cache = Cache()
    await cache.keep("key", answer(), 60.0)

    assert await cache.find("key", 60.0) is None


@pytest.mark.parametrize(("cut", "kept"), [(None, True), ("max_tokens", False)])
async def test_only_a_complete_answer_is_stored(cut: Any, kept: bool) -> None:
    cache, memory = shared()
    await cache.keep("key", answer(cut=cut), 60.0)

    assert ("key" in memory.stored) is kept


async def test_an_answer_over_the_limit_is_not_stored() -> None:
    cache, memory = shared()
    await cache.keep("empty", answer(""), 60.0)
    room = LARGEST - len(memory.stored["empty"][0])
    await cache.keep("exact", answer("x" * room), 60.0)
    await cache.keep("over", answer("x" * (room + 1)), 60.0)

    assert len(memory.stored["exact"][0]) == LARGEST
    assert "over" not in memory.stored


def request(**changed: Any) -> ChatRequest:
    fields: dict[str, Any] = {"messages": MESSAGES, "parameters": {"a": 1, "b": 2}, "timeout": 5.0}
    return ChatRequest(**{**fields, **changed})


def test_the_key_does_not_depend_on_who_calls_and_how_long_it_may_take() -> None:
    same = request(
        parameters=MappingProxyType({"b": 2, "a": 1}), timeout=9.0, agent="other", patience=1.0
    )

    assert key_of("openai/x", request()) == key_of("openai/x", same)


@pytest.mark.parametrize(
    "changed",
    [
        {"messages": ({"role": "user", "content": "hello!"},)},
        {"parameters": {"a": 1}},
        {"tools": ({"type": "function"},)},
        {"schema": {"type": "object"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_whatever_decides_the_answer_changes_the_key(changed: dict[str, Any]) -> None:
    assert key_of("openai/x", request()) != key_of("openai/x", request(**changed))


def test_another_model_has_another_key() -> None:
    assert key_of("openai/x", request()) != key_of("openai/y", request())
