"""A parser of server-sent events, for bytes that arrive in arbitrary pieces."""

from __future__ import annotations


class EventStream:
    """Takes the bytes that the socket gives, and returns the data of each complete event.

    The format is WHATWG's (https://html.spec.whatwg.org/multipage/server-sent-events.html), except:

    * Only `data` is used; `event`, `id` and comments are skipped.
    * Lines end with LF or CRLF. A lone CR is allowed too, but no server uses it, and it would need
      a look-ahead into bytes that have not arrived yet.

    An event counts when the empty line after it has arrived. One that is cut off is not an event;
    that is how a broken connection is noticed. Lines are split as bytes, because a piece may end in
    the middle of a UTF-8 character.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # pieces of the line that has not ended yet
        self._data: list[bytes] = []  # `data` lines of the event that has not ended yet
        self.pending = 0  # bytes held back, for the caller to limit

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that end in `piece`."""
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
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                # Exactly one space belongs to the format; a second one is data.
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
        self.pending = len(unended) + sum(map(len, self._data))
        return events
