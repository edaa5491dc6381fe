"""The text of a stream that cannot be taken back, although the run behind it may begin again."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from agentd.doors.refusal import Refusal

BETWEEN_TURNS = "\n\n"


class Diverged(Refusal):
    """The answer is not a continuation of what was sent already."""

    def __init__(self) -> None:
        text = "the run was repeated, and its answer differs from the text that was sent before"
        super().__init__(500, "diverged", f"{text}; ask again, and forget the text")


class ForwardText:
    """The text of one stream.

    A turn that called tools stays: the text of the next one follows it as a new paragraph. When the
    same turn begins again, what was sent of it is left out, and the rest is sent as soon as the
    repetition is longer.
    """

    def __init__(self) -> None:
        self._sent = ""  # of this turn
        self._again = ""  # what the repetition of this turn has so far
        self._turn = 0
        self._is_later = False

    def add(self, piece: str, *, turn: int) -> str:
        """The text to send after this piece of a turn.

        Raises:
            Diverged: the turn was repeated, and became another one.
        """
        if not piece:  # the last one of a stream may be empty, and begins no turn
            return ""
        if turn != self._turn:
            self._begin(turn)
        self._again += piece
        return self._new(self._again)

    def restart(self) -> None:
        """The next piece begins its turn again, or a new turn."""
        self._again = ""

    def finish(self, data: Any, text: str, *, turns: int) -> str:
        """The text to send at the end, when the whole answer is known: `data`, and as `text`.

        Raises:
            Diverged: as `add`.
        """
        if self._sent and _is_value(self._sent, data):
            return ""
        if turns > self._turn:  # all pieces of the last turn were lost
            self._begin(turns)
        if not text.startswith(self._sent):
            raise Diverged
        return self._new(text)

    def _begin(self, turn: int) -> None:
        self._is_later = self._is_later or bool(self._sent)
        self._sent, self._again, self._turn = "", "", turn

    def _new(self, text: str) -> str:
        shorter, longer = sorted((self._sent, text), key=len)
        if not longer.startswith(shorter):
            raise Diverged
        new, self._sent = text[len(self._sent) :], longer
        if new and self._is_later:
            self._is_later = False
            return BETWEEN_TURNS + new
        return new


def _is_value(sent: str, data: Any) -> bool:
    """Whether the text that was sent is the answer, written in another way."""
    if isinstance(data, str):
        return False
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(sent) == data
    return False
