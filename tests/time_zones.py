"""Time zones made for a test, whose clocks change when the test needs it (files as in RFC 9636)."""

from __future__ import annotations

import struct
from pathlib import Path

_LONG_BEFORE = 400 * 86400


def write_zone(file: Path, change: int, before: int, after: int) -> None:
    """Writes a zone whose offset, in seconds ahead of UTC, goes from `before` to `after` at the
    moment `change`."""
    changes = ((change - _LONG_BEFORE, 0), (change, 1))
    offsets = ((before, 0), (after, 4))  # each with where its abbreviation begins
    names = b"OLD\0NEW\0"
    counts = (0, 0, 0, len(changes), len(offsets), len(names))
    # The file has everything twice. The first block has times of 32 bits, for old programs.
    content = b"".join(
        struct.pack(">5s15x6l", b"TZif2", *counts)
        + b"".join(struct.pack(f">{time}", moment) for moment, _ in changes)
        + bytes(index for _, index in changes)
        + b"".join(struct.pack(">lbB", offset, 0, name) for offset, name in offsets)
        + names
        for time in "lq"
    )
    file.write_bytes(content + b"\n\n")
