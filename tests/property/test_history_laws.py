"""The history that a model receives keeps its limits, whatever the conversation and the limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from agentd.manifest.limits import History
from agentd.models.estimate import message_tokens
from agentd.protocol.fields import HistoryMessage
from agentd.protocol.message import AgentIdentity, AgentMessage, Context, new
from agentd.run.history import (
    Exchange,
    Past,
    attached,
    divided,
    room_for_summary,
    shortened,
    to_summarize,
    trimmed,
)

TEXTS = st.text(max_size=60) | st.integers(0, 3_000).map("x".__mul__)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    roles = ["user", *draw(st.lists(st.sampled_from(["assistant", "user"]), max_size=2))]
    return Exchange(tuple({"role": role, "content": draw(TEXTS)} for role in roles), 1)


LIMITS = st.builds(
    History,
    max_messages=st.integers(1, 30),
    max_tokens=st.integers(1, 3_000),
    keep=st.integers(0, 12),
    compact=st.sampled_from(["summarize", "trim"]),
)
PASTS = st.builds(
    Past, summary=st.just("") | TEXTS, exchanges=st.lists(exchanges(), max_size=20).map(tuple)
)


def within(past: Past, limits: History) -> bool:
    """Whether the past keeps its limits. The newest exchange is exempt if it is the only one."""
    exempt = past.exchanges[0].turns if limits.keep and len(past.exchanges) == 1 else ()
    bound = [turn for turn in past.chat() if turn not in exempt]
    tokens = sum(map(message_tokens, bound))
    return len(bound) <= limits.max_messages and tokens <= limits.max_tokens


def is_end_of(some: Sequence[Any], all_of: Sequence[Any]) -> bool:
    """Whether `some` are the last items of `all_of`, in order."""
    return tuple(some) == tuple(all_of[len(all_of) - len(some) :])


@given(PASTS, LIMITS)
@example(Past(), History())
@example(Past("s" * 9_000, (Exchange(({"role": "user", "content": "x"},)),)), History(max_tokens=1))
def test_a_trimmed_history_keeps_its_limits_and_whole_exchanges_in_order(
    past: Past, limits: History
) -> None:
    shown = trimmed(past, limits)

    assert within(shown, limits)
    assert is_end_of(shown.exchanges, past.exchanges)
    assert trimmed(shown, limits) == shown


@given(PASTS, LIMITS)
def test_the_exchanges_to_keep_are_unchanged_if_they_fit(past: Past, limits: History) -> None:
    past = trimmed(past, limits.model_copy(update={"max_messages": 10_000, "max_tokens": 10**6}))
    kept: list[Exchange] = []
    for exchange in reversed(past.exchanges):
        if sum(len(each.turns) for each in kept) >= limits.keep:
            break
        kept.insert(0, exchange)
    turns, tokens = sum(len(each.turns) for each in kept), sum(each.tokens for each in kept)
    fits = turns < limits.max_messages and (
        tokens + room_for_summary(limits) <= limits.max_tokens and room_for_summary(limits) > 0
    )
    older, newer = divided(past, limits)

    assert older.exchanges + newer.exchanges == past.exchanges
    assert (older.summary, newer.summary) in {(past.summary, ""), ("", past.summary)}
    if fits:
        assert is_end_of(kept, newer.exchanges)
        assert is_end_of(kept, trimmed(Past("s" * 9_000, newer.exchanges), limits).exchanges)


@given(PASTS, LIMITS)
def test_a_summary_of_the_older_part_and_the_rest_keep_the_limits(
    past: Past, limits: History
) -> None:
    older, newer = divided(past, limits)
    if not older.exchanges:
        return
    summary = shortened("a word " * 2_000, limits)
    compacted = Past(summary, newer.exchanges)

    assert summary
    assert within(compacted, limits)
    assert trimmed(compacted, limits) == compacted
    again, rest = divided(compacted, limits)
    assert not again.exchanges or len(rest.exchanges) <= 1


@given(PASTS, LIMITS)
def test_no_message_of_a_conversation_becomes_a_system_turn(past: Past, limits: History) -> None:
    assert {turn["role"] for turn in trimmed(past, limits).chat()} <= {"user", "assistant"}
    ours, record = to_summarize(past, limits)
    assert (ours["role"], record["role"]) == ("system", "user")
    assert to_summarize(Past(), limits)[0] == ours


ROLES = st.sampled_from(["user", "assistant", "system", "tool", "developer", "User"])
CONTENTS = st.none() | st.text(max_size=20) | st.dictionaries(st.text(max_size=3), st.integers())


@given(st.lists(st.tuples(ROLES, CONTENTS), max_size=20), st.none() | st.integers(0, 25))
def test_a_sender_can_only_use_the_roles_user_and_assistant(
    sent: list[tuple[str, Any]], most: int | None
) -> None:
    past = attached(message(sent, most))
    shown = past.chat()

    assert {turn["role"] for turn in shown} <= {"user", "assistant"}
    assert all(isinstance(turn["content"], str) and turn["content"] for turn in shown)
    assert len(shown) <= len(sent if most is None else sent[:most])
    taken = [content for role, content in sent if role in ("user", "assistant") and content]
    texts = [
        each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in taken
    ]
    assert is_end_of([turn["content"] for turn in shown], texts)
    for exchange in past.exchanges[1:]:
        assert [turn["role"] for turn in exchange.turns].index("user") == 0


def message(sent: list[tuple[str, Any]], most: int | None) -> AgentMessage:
    turns = tuple(HistoryMessage(role=role, content=content) for role, content in sent)
    context = Context(conversation_id="c", history=turns, max_history=most)
    return new("task", "x", source=AgentIdentity(id="me"), context=context)
