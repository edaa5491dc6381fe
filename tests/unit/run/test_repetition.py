"""A run that makes the same tool calls again and again is asked to stop, and then ended."""

from __future__ import annotations

import pytest

from agentd.errors import Undeliverable
from agentd.models.port import ToolCall
from agentd.run.repetition import Repetitions

BONN = '{"city": "Bonn", "days": 2}'


def turn(*calls: str) -> list[ToolCall]:
    """A turn with calls of `look`, with these arguments."""
    return [ToolCall(f"c{number}", "look", arguments) for number, arguments in enumerate(calls)]


def test_a_call_may_be_repeated_up_to_the_bound() -> None:
    repetitions = Repetitions(3)
    assert [dict(repetitions.refused(turn(BONN))) for _ in range(3)] == [{}, {}, {}]
    [answer] = repetitions.refused(turn(BONN)).values()
    assert answer.startswith("this call was not made: look was already called 3 times")


def test_a_model_that_goes_on_nevertheless_is_ended() -> None:
    repetitions = Repetitions(1)
    repetitions.refused(turn(BONN))
    assert repetitions.refused(turn(BONN))
    with pytest.raises(Undeliverable, match=r"limits\.repeated_calls is 1") as ended:
        repetitions.refused(turn(BONN))
    assert ended.value.code == "repeated_calls"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (BONN, '{ "days":2,"city":"Bonn" }', True),
        ("", "{}", True),
        ("{", "{", True),
        (BONN, '{"city": "Bonn", "days": 3}', False),
        ("{", "{{", False),
        ("[" * 100_000, "[" * 100_000, True),
        ('"\ud83d"', '"\ud83d"', True),
    ],
)
def test_arguments_are_compared_by_their_meaning(first: str, second: str, same: bool) -> None:
    repetitions = Repetitions(1)
    repetitions.refused(turn(first))
    assert bool(repetitions.refused(turn(second))) is same


def test_another_tool_is_another_call() -> None:
    repetitions = Repetitions(1)
    repetitions.refused([ToolCall("a", "look", BONN)])
    assert not repetitions.refused([ToolCall("b", "see", BONN)])


def test_something_new_starts_all_counts_again() -> None:
    """A test that runs after each edit is no circle."""
    repetitions = Repetitions(2)
    for edit in range(9):
        assert not repetitions.refused(turn("{}", "{}"))
        assert not repetitions.refused(turn(f'{{"edit": {edit}}}'))


def test_two_calls_in_turn_are_a_circle_too() -> None:
    repetitions = Repetitions(2)
    made = [bool(repetitions.refused(turn(each))) for each in ["1", "2"] * 3]
    assert made == [False, False, False, False, False, True]
    assert repetitions.refused(turn("1"))
    with pytest.raises(Undeliverable):
        repetitions.refused(turn("2"))


def test_a_turn_that_repeats_a_call_too_often_is_not_the_end_yet() -> None:
    """The model has not read the refusal before the turn is over."""
    repetitions = Repetitions(2)
    assert repetitions.refused(turn(BONN, BONN, BONN, BONN)).keys() == {2, 3}
    with pytest.raises(Undeliverable):
        repetitions.refused(turn(BONN))
