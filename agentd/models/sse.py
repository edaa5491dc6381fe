"""Server-sent events out of bytes that arrive in arbitrary pieces."""

from __future__ import annotations


class EventStream:
    """Feed it what the socket gives; it returns the data of each event that is complete.

    As in WHATWG's grammar, but an unfinished last event is not an event, lines end with LF or CRLF
    (a lone CR is not used by any server and would need a look-ahead), and only `data` is of
    interest. Lines are cut in bytes, so a character is never split.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # pieces of the line that is not yet ended
        self._data: list[bytes] = []  # `data` lines of the event that is not yet ended
        self.pending = 0  # bytes held back

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that end in `piece`."""
        head, newline, rest = piece.partition(b"\n")
        self.pending += len(piece)
        if not newline:
            self._line.append(piece)
            return []
        lines = [b"".join(self._line) + head, *rest.split(b"\n")]
        unended = lines.pop()
        self._line = [unended]
        events: list[bytes] = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
        self.pending = len(unended) + sum(map(len, self._data))
        return events
