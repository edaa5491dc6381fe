"""What a process of functions and its parent tell each other: JSON with its length before it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from agentd.errors import AgentdError

LENGTH = struct.Struct(">I")
MOST = 8 << 20  # bytes of a frame that is read: a million characters, all of them escaped


class FrameTooLong(AgentdError):
    """A frame of more than `MOST` bytes is announced; it was not read."""


def frame(message: Any) -> bytes:
    """The bytes of a message."""
    # Half a surrogate pair, which JSON can spell, is no text: it becomes a question mark.
    body = json.dumps(message, ensure_ascii=False).encode(errors="replace")
    return LENGTH.pack(len(body)) + body


class Frames:
    """Bytes in, as they come; messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete with `data`.

        Raises:
            TooLong: whoever writes is not to be read any more.
            ValueError: what it writes is no JSON.
        """
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            if length > MOST:
                raise FrameTooLong
            end = LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            yield json.loads(body)
