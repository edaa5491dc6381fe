"""Text that was sent stays: turns follow one another, repetitions are held back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.doors.openai.forward_text import BETWEEN_TURNS, Diverged, ForwardText


class Stream:
    """What a client has received."""

    def __init__(self) -> None:
        self.text = ForwardText()
        self.received = ""

    def pieces(self, *pieces: str, turn: int = 1) -> Stream:
        for piece in pieces:
            self.received += self.text.add(piece, turn=turn)
        return self

    def restart(self) -> Stream:
        self.text.restart()
        return self

    def end(self, data: Any, turns: int = 1) -> str:
        text = data if isinstance(data, str) else json.dumps(data)
        self.received += self.text.finish(data, text, turns=turns)
        return self.received


def test_pieces_are_sent_as_they_come() -> None:
    stream = Stream().pieces("One ", "two")
    assert stream.received == "One two"
    assert stream.end("One two three") == "One two three"


def test_an_answer_without_pieces_is_sent_at_the_end() -> None:
    assert Stream().end("All at once") == "All at once"


def test_a_repeated_run_goes_on_where_the_text_ends() -> None:
    stream = Stream().pieces("One ", "two ").restart().pieces("On", "e two", " three")
    assert stream.received == "One two three"
    assert stream.restart().end("One two three four") == "One two three four"


def test_a_repetition_that_ends_sooner_is_another_answer() -> None:
    stream = Stream().pieces("One two").restart().pieces("One")
    with pytest.raises(Diverged, match="differs from the text that was sent"):
        stream.end("One")


def test_a_repeated_run_that_says_something_else_is_noticed() -> None:
    stream = Stream().pieces("One two").restart().pieces("One ")
    with pytest.raises(Diverged):
        stream.pieces("three")


def test_the_text_before_tool_calls_stays_as_a_paragraph() -> None:
    stream = Stream().pieces("Let me look.").restart().pieces("Found", " it.", turn=2)
    assert stream.end("Found it.", turns=2) == f"Let me look.{BETWEEN_TURNS}Found it."


def test_a_turn_after_tool_calls_may_be_repeated() -> None:
    stream = Stream().pieces("Hm.").restart().pieces("Found ", turn=2).restart()
    stream.pieces("Found ", "it.", turn=2)
    assert stream.end("Found it.", turns=2) == f"Hm.{BETWEEN_TURNS}Found it."


def test_turns_without_text_leave_no_paragraph() -> None:
    assert Stream().restart().pieces("Done.", turn=3).end("Done.", turns=3) == "Done."


def test_the_empty_end_of_a_stream_begins_no_turn() -> None:
    """The text before calls that are given back is the answer itself."""
    stream = Stream().pieces("Let me").restart().pieces("", turn=2)
    assert stream.end("Let me") == "Let me"


def test_the_last_turn_is_sent_although_its_pieces_were_lost() -> None:
    stream = Stream().pieces("Hm.").restart()
    assert stream.end("Found it.", turns=2) == f"Hm.{BETWEEN_TURNS}Found it."


def test_a_value_may_be_written_in_another_way() -> None:
    assert Stream().pieces('{"a":1}').end({"a": 1}) == '{"a":1}'
    with pytest.raises(Diverged):
        Stream().pieces("The value is 1").end({"a": 1})
