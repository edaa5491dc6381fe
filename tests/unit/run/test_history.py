"""The earlier turns that a model is shown: which are taken, dropped or summarized.

The laws for any conversation and any limits are in tests/property/test_history_laws.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from agentd.errors import TaskError
from agentd.manifest.limits import History
from agentd.models.estimate import message_tokens
from agentd.models.wire.chat import sendable
from agentd.protocol.fields import AgentIdentity, Context, HistoryMessage, has_calls
from agentd.protocol.message import new
from agentd.run.history import (
    Exchange,
    Past,
    attached,
    chat_turns,
    divided,
    ids_in,
    room_for_summary,
    shortened,
    to_summarize,
    trimmed,
)


def exchange(name: str) -> Exchange:
    turns = ({"role": "user", "content": name}, {"role": "assistant", "content": name.upper()})
    return Exchange(turns, sequence=ord(name[0]))


PAST = Past(exchanges=tuple(map(exchange, "abcd")))


def names(past: Past) -> str:
    """The exchanges of a past, by their names."""
    return "".join(str(each.turns[0]["content"]) for each in past.exchanges)


def sent(*turns: tuple[str, Any], most: int | None = None) -> Past:
    """What is taken of a history that a sender attached."""
    history = tuple(HistoryMessage(role=role, content=content) for role, content in turns)
    context = Context(conversation_id="c", history=history, max_history=most)
    return attached(new("task", "x", source=AgentIdentity(id="test"), context=context))


def test_only_turns_of_users_and_assistants_are_taken_from_a_sender() -> None:
    past = sent(("system", "obey"), ("user", "a"), ("tool", "x"), ("user", ""), ("assistant", "A"))
    assert past.chat() == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "A"},
    ]


def test_an_answer_belongs_to_the_turn_before_it() -> None:
    past = sent(("assistant", "hi"), ("user", "a"), ("assistant", "A"), ("assistant", "B"))
    assert [len(each.turns) for each in past.exchanges] == [1, 3]


@pytest.mark.parametrize(("most", "kept"), [(None, 4), (4, 4), (3, 2), (1, 0), (0, 0)])
def test_a_sender_may_attach_more_than_is_to_be_used(most: int | None, kept: int) -> None:
    past = sent(("user", "a"), ("assistant", "A"), ("user", "b"), ("assistant", "B"), most=most)
    assert len(past.chat()) == kept


def test_a_part_that_no_model_takes_names_its_place() -> None:
    with pytest.raises(TaskError, match=r"context\.history\[1\]\.content") as refused:
        sent(("user", "a"), ("user", [{"type": "input_audio"}]))
    assert refused.value.code == "bad_part"


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (History(max_messages=8, max_tokens=1000), "abcd"),
        (History(max_messages=7, max_tokens=1000), "bcd"),
        (History(max_messages=2, max_tokens=1000), "d"),
        (History(max_messages=1, max_tokens=1000, keep=1), "d"),
        (History(max_messages=1, max_tokens=1000, keep=0), ""),
        (History(max_messages=8, max_tokens=PAST.tokens), "abcd"),
        (History(max_messages=8, max_tokens=PAST.tokens - 1), "bcd"),
    ],
)
def test_the_oldest_exchanges_are_dropped_first(limits: History, kept: str) -> None:
    assert names(trimmed(PAST, limits)) == kept


def test_a_summary_is_one_of_the_messages_and_takes_tokens() -> None:
    past = Past("so far", PAST.exchanges)
    assert names(trimmed(past, History(max_messages=9, max_tokens=1000))) == "abcd"
    assert names(trimmed(past, History(max_messages=8, max_tokens=1000))) == "bcd"
    [turn, *_] = past.chat()
    assert turn["role"] == "user"
    assert turn["content"].endswith("so far")
    assert past.tokens == PAST.tokens + message_tokens(turn)


def test_nothing_is_summarized_while_everything_fits() -> None:
    assert divided(PAST, History(max_messages=8, max_tokens=1000)) == (Past(), PAST)


@pytest.mark.parametrize(("keep", "stays"), [(0, ""), (1, "d"), (2, "d"), (3, "cd"), (5, "bcd")])
def test_all_but_the_newest_turns_are_summarized(keep: int, stays: str) -> None:
    older, newer = divided(PAST, History(max_messages=7, max_tokens=4000, keep=keep))
    assert (names(older), names(newer)) == ("abcd".removesuffix(stays), stays)


def test_where_a_summary_has_no_room_nothing_is_summarized() -> None:
    assert divided(PAST, History(max_messages=2, max_tokens=399)) == (Past(), PAST)


@pytest.mark.parametrize(
    ("tokens", "room"), [(399, 0), (400, 100), (2000, 500), (4000, 1000), (40_000, 1000)]
)
def test_a_summary_has_a_quarter_of_the_tokens(tokens: int, room: int) -> None:
    assert room_for_summary(History(max_tokens=tokens)) == room


def test_a_model_is_asked_for_a_summary_with_the_record_word_for_word() -> None:
    system, user = to_summarize(Past("so far", PAST.exchanges[:1]), History(max_tokens=4000))
    assert system["role"] == "system"
    assert "at most 666 words" in system["content"]
    assert user["content"].startswith("The record:\n\nuser: ")
    assert user["content"].endswith("so far\n\nuser: a\n\nassistant: A")


def test_a_summary_that_is_too_long_is_cut() -> None:
    limits = History(max_tokens=400)
    room = room_for_summary(limits)
    assert shortened(" short \n", limits) == "short"
    cut = shortened("ä" * 1000, limits)
    assert cut.endswith("ä…")
    assert message_tokens({"role": "user", "content": cut}) <= room
    assert shortened("x", History(max_tokens=399)) == ""


ASKED = {"role": "user", "content": "Rain?"}


def called(*ids: str) -> dict[str, Any]:
    calls = [{"id": each, "name": "weather", "arguments": "{}"} for each in ids]
    return {"role": "assistant", "content": None, "calls": calls}


def answered(id: str, text: str = "sun") -> dict[str, Any]:  # noqa: A002
    return {"role": "tool", "callId": id, "content": text}


def turns(*given: dict[str, Any]) -> list[HistoryMessage]:
    return [HistoryMessage.model_validate(turn) for turn in given]


def test_calls_and_answers_are_sent_as_every_server_takes_them() -> None:
    chat = sendable(chat_turns(turns(ASKED, called("x.1"), answered("x.1", "")), "here"), "m")
    assert [turn["role"] for turn in chat] == ["user", "assistant", "tool"]
    [call] = chat[1]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": "{}"}
    assert call["id"] == chat[2]["tool_call_id"] == "call00000"
    assert chat[2]["content"] == "(no output)"
    assert "made_by" not in chat[1]


def test_a_turn_of_a_tool_that_answers_nothing_is_left_out() -> None:
    assert chat_turns(turns({"role": "tool", "content": "obey"}, ASKED), "here") == [ASKED]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ([ASKED, answered("a")], r"here\[1\] answers no call"),
        ([called("a"), answered("a"), answered("a")], r"here\[2\] answers no call"),
        ([called("a", "b"), answered("a"), ASKED], r"here\[2\] comes before .* 'b'"),
        ([called("a")], r"the end of here comes before .* 'a'"),
    ],
)
def test_calls_and_answers_belong_together(given: list[dict[str, Any]], place: str) -> None:
    with pytest.raises(TaskError, match=place) as refused:
        chat_turns(turns(*given), "here")
    assert refused.value.code == "bad_part"


def test_the_calls_of_turns_are_found() -> None:
    given = turns(ASKED, called("a", "b"), answered("a"))
    assert has_calls(given)
    assert not has_calls(turns(ASKED))
    assert list(ids_in(given)) == ["a", "b"]
