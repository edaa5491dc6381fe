"""The messages between a worker process and the daemon: JSON with its length in front.

Lines would do for JSON, too. With a length, the reader knows the size of a message before it reads
it, and refuses one that is too large.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from agentd.errors import AgentdError

LENGTH = struct.Struct(">I")
MOST = 8 << 20  # bytes of a frame: the longest answer, a million characters, all escaped


class FrameTooLong(AgentdError):
    """The length in front of a frame is more than `MOST` bytes; the frame was not read."""


def frame(message: Any) -> bytes:
    """The bytes of a message."""
    # JSON can spell half a surrogate pair, which UTF-8 cannot: it becomes a question mark.
    body = json.dumps(message, ensure_ascii=False).encode(errors="replace")
    return LENGTH.pack(len(body)) + body


class Frames:
    """Takes bytes in pieces of any size and gives whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete with `data`.

        Raises:
            FrameTooLong: the frame is too large; do not read from this writer again.
            ValueError: the bytes are not JSON.
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
