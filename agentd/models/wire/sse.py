"""A parser of server-sent events, for bytes that arrive in arbitrary pieces."""

from __future__ import annotations

import codecs


class EventStream:
    """Takes the bytes that the socket gives, and returns the data of each complete event.

    The format is WHATWG's (https://html.spec.whatwg.org/multipage/server-sent-events.html). Only
    `data` is used; the data of an event with the name `error` becomes `{"error": data}`. Two things
    that are no such events are taken as well: a line of bare JSON, in which some servers report an
    error; and what stands at the end without an empty line after it.

    Lines are split as bytes, because a piece may end in the middle of a UTF-8 character.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # pieces of the line that has not ended yet
        self._data: list[bytes] = []  # `data` lines of the event that has not ended yet
        self._is_error = False  # the event has the name `error`
        self._begun = False
        self._after_cr = False  # the last piece ended with CR: a LF that follows belongs to it
        self.pending = 0  # bytes held back, for the caller to limit

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that end in `piece`."""
        piece = self._with_line_feeds(piece)
        head, newline, rest = piece.partition(b"\n")
        self.pending += len(piece)
        # Pieces of a long line are joined when it ends: `line += piece` would copy it every time.
        if not newline:
            self._line.append(piece)
            return []
        lines = [b"".join(self._line) + head, *rest.split(b"\n")]
        unended = lines.pop()
        self._line = [unended]
        events: list[bytes] = []
        for line in lines:
            self._add(line, events)
        self.pending = len(unended) + sum(map(len, self._data))
        return events

    def end(self) -> list[bytes]:
        """The data of the event that the end of the stream ends, if there is one.

        It may be cut off, which only its content can show.
        """
        events: list[bytes] = []
        self._add(b"".join(self._line), events)
        self._add(b"", events)
        self._line = []
        return events

    def _add(self, line: bytes, events: list[bytes]) -> None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.startswith(b"data:"):
            # Exactly one space belongs to the format; a second one is data.
            self._data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            self._is_error = line[6:].strip() == b"error"
        elif line.startswith(b"{") and line.rstrip().endswith(b"}"):
            events.append(line)
        elif not line:
            self._end_event(events)

    def _end_event(self, events: list[bytes]) -> None:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        if data.strip():  # an empty `data:` keeps a connection alive
            is_object = self._is_error and data.lstrip().startswith(b"{")
            events.append(b'{"error": %b}' % data if is_object else data)
        self._data, self._is_error = [], False

    def _with_line_feeds(self, piece: bytes) -> bytes:
        """The piece with LF for CR LF and for CR."""
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" not in piece:
            return piece
        self._after_cr = piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
