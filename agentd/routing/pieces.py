"""What a reader has of an answer that arrives in pieces: which piece comes next, which is old.

Pieces are deltas. A piece has the number `n` of a run; a run that is repeated, or goes on with
tools, counts from 0 again under another name. Replicas that run the same task at the same time mix
their pieces. So a reader takes one run at a time, in order, and begins again with the run that
began last.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from agentd.errors import DecodeError, UsageError
from agentd.protocol.message import AgentMessage, decode

# In the place of the number: the reader has the whole answer, or nothing because the run is void.
_END, _VOID = "end", "void"
_cursor = re.compile(rf"([A-Za-z0-9_-]{{0,64}})-([0-9]{{1,9}}|{_END}|{_VOID})").fullmatch
_REMEMBERED = 64  # runs that are over

Relation = Literal["next", "start", "old", "gap"]


@dataclass(frozen=True)
class Piece:
    """A delta. Of a sender that names no run, `run` is empty."""

    message: str
    run: str
    number: int
    text: str
    final: bool
    turn: int = 1

    @classmethod
    def parse(cls, data: bytes) -> Piece:
        """The piece in a message of a stream.

        Raises:
            DecodeError: it is none.
        """
        message = decode(data, type="stream")
        payload, number = message.payload, message.payload.sequence_number
        if number is None:
            raise DecodeError("a delta needs it", path="payload.sequenceNumber")
        run, dash, counted = message.id.rpartition("-")
        named = bool(dash) and counted == str(number)
        return cls(
            message=message.id,
            run=run if named else "",
            number=number,
            text=payload.chunk or "",
            final=bool(payload.is_final),
            turn=payload.turn or 1,
        )


@dataclass(frozen=True)
class Taken:
    """A piece for the reader; `cursor` says how far the reader is with it."""

    text: str
    cursor: str
    turn: int


@dataclass(frozen=True)
class Restart:
    """The pieces that the reader has are void; `why`, in words."""

    why: str
    cursor: str


Step = Taken | Restart

_AGAIN = "the answer begins again"
_LOST = "pieces of the answer are lost; the result has all of it"
_OTHER = "the result is another answer"


class AnswerReader:
    """What one reader has of an answer; `after` is the cursor up to which it has the pieces.

    Raises:
        UsageError: `after` is no cursor.
    """

    def __init__(self, after: str = "") -> None:
        self._run, self._number = "", -1
        self._turn = 1
        self._first = ""  # the id of the run's first message
        self._over: deque[str] = deque(maxlen=_REMEMBERED)
        # What the reader has, as length and digest: kept, it would cost as much as the answer. None
        # where a part of it was read from another process.
        self._length, self._sum = 0, hashlib.sha256() if not after else None
        self._has_pieces = bool(after)
        self.complete = False
        if after:
            self._continue(after)

    def _continue(self, after: str) -> None:
        found = _cursor(after)
        if not found:
            raise UsageError(f"{after[:100]!r} is no place in a stream")
        run, number = found.groups()
        if number == _VOID:
            self._has_pieces, self._sum = False, hashlib.sha256()
            self._leave(run)
            return
        self.complete = number == _END
        self._run, self._number = run, 10**9 if self.complete else int(number)

    @property
    def is_empty(self) -> bool:
        """Whether the reader has no pieces."""
        return not self._has_pieces

    def relation(self, piece: Piece) -> Relation:
        """Whether the piece follows what the reader has, begins a run, is old, or neither."""
        if piece.run == self._run and self._number >= 0:
            return self._within_run(piece)
        if piece.run in self._over:
            return "old"
        return "start" if piece.number == 0 else "gap"

    def _within_run(self, piece: Piece) -> Relation:
        if not piece.run and piece.number == 0 and self._first not in ("", piece.message):
            return "start"  # a sender that names no run
        if piece.number <= self._number:
            return "old"
        return "next" if piece.number == self._number + 1 else "gap"

    def take(self, piece: Piece) -> Iterator[Step]:
        """What a piece is to the reader; nothing if it is old or does not follow."""
        relation = self.relation(piece)
        if relation == "start":
            yield from self._begin(_AGAIN)
            self._run, self._first = piece.run, piece.message
        elif relation != "next":
            return
        self._number, self._turn, self.complete = piece.number, piece.turn, piece.final
        if piece.text:
            self._add(piece.text)
            yield Taken(piece.text, f"{piece.run}-{piece.number}", piece.turn)

    def lose(self, run: str) -> Iterator[Step]:
        """Gives up a run: a piece of it cannot be found."""
        if run == self._run and self._number >= 0:
            yield from self._begin(_LOST)
        else:
            self._leave(run)

    def catch_up(self, recorded: Sequence[Piece]) -> Iterator[Step]:
        """Goes on with recorded pieces, in their order. What the record leaves out is lost."""
        place = self._place(recorded)
        self._remember(recorded[:place])
        kept = {self._run, *(each.run for each in recorded[place : place + 1])}
        for run in dict.fromkeys(each.run for each in recorded[:place]):
            if run not in kept:
                self._leave(run)
        for piece in recorded[place:]:
            if self.relation(piece) == "gap":
                yield from self.lose(piece.run)
            yield from self.take(piece)

    def _place(self, recorded: Sequence[Piece]) -> int:
        """Where to go on: at the run that began last, or behind what the reader has."""
        place = 0
        for index, each in enumerate(recorded):
            relation = self.relation(each)
            if relation == "start":
                place = index
            elif relation == "old" and each.run == self._run:
                place = index + 1
        return place

    def _remember(self, recorded: Sequence[Piece]) -> None:
        """Counts what another process gave to the reader, where the record has all of it."""
        if self._sum is not None or self.complete:
            return
        own = [each for each in recorded if each.run == self._run and each.number <= self._number]
        if own and [each.number for each in own] == list(range(self._number + 1)):
            self._length, self._sum = 0, hashlib.sha256()
            self.complete = own[-1].final
            for each in own:
                self._add(each.text)

    def end(self, result: AgentMessage) -> Iterator[Step]:
        """What the reader still needs, so that its pieces add up to the answer of the result."""
        content = result.payload.content
        answer = content.get("data") if isinstance(content, dict) else None
        if not self._has_pieces or answer is None:
            return
        if not isinstance(answer, str) or self._sum is None:
            # Only the text of a model can be compared with an answer of another form.
            if not self.complete:
                yield from self._begin(_LOST)
            return
        rest = self._rest(answer, self._sum.digest())
        if rest is None:
            yield from self._begin(_OTHER)
        elif rest:
            yield Taken(rest, f"{self._run}-{_END}", self._turn)

    def _rest(self, answer: str, digest: bytes) -> str | None:
        """What follows in the answer on what the reader has; None if that is another text."""
        given, rest = answer[: self._length], answer[self._length :]
        same = hashlib.sha256(_bytes(given)).digest() == digest
        return rest if same and len(given) == self._length else None

    def _begin(self, why: str) -> Iterator[Step]:
        """Forgets what the reader has."""
        if self._number >= 0:
            self._leave(self._run)
        run, self._run, self._number, self._first = self._run, "", -1, ""
        self._length, self._sum, self.complete = 0, hashlib.sha256(), False
        if self._has_pieces:
            self._has_pieces = False
            yield Restart(why, f"{run}-{_VOID}")

    def _leave(self, run: str) -> None:
        if run and run not in self._over:
            self._over.append(run)

    def _add(self, text: str) -> None:
        self._has_pieces = True
        self._length += len(text)
        if self._sum is not None:
            self._sum.update(_bytes(text))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
