"""Compressed answers, unpacked only as far as they are read: a few bytes may hold gigabytes."""

from __future__ import annotations

import zlib

from agentd.errors import AgentdError

CODINGS = ("gzip", "deflate")

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Undecodable(AgentdError):
    """An answer that cannot be unpacked."""


class Decoder:
    """Takes an answer in pieces; keeps `most` bytes of what it says."""

    def __init__(self, coding: str, most: int) -> None:
        """`coding` is the header Content-Encoding.

        Raises:
            Undecodable: it names a coding that nobody asked for.
        """
        self._kind = coding.strip().lower().removeprefix("x-")
        if self._kind not in ("", "identity", *CODINGS):
            raise Undecodable(f"answered in the encoding {coding[:50]!r}, unasked")
        self._most = most
        self._kept = bytearray()
        self._unpacker = zlib.decompressobj(_GZIP) if self._kind == "gzip" else None

    @property
    def full(self) -> bool:
        """Whether there is more than is kept."""
        return len(self._kept) > self._most

    def feed(self, data: bytes) -> None:
        """Takes the next piece.

        Raises:
            Undecodable: it is not what the coding says.
        """
        if self._kind in ("", "identity"):
            self._kept += data[: self._room()]
            return
        # Servers disagree on whether `deflate` has a header. Its first byte tells.
        if self._unpacker is None and data:
            self._unpacker = zlib.decompressobj(_ZLIB if data[0] & 0x0F == 8 else _RAW)
        while data and not self.full:
            data = self._unpack(data)

    def taken(self) -> bytes:
        """What is kept so far."""
        return bytes(self._kept[: self._most])

    def finished(self) -> bytes:
        """All of it, after the last piece.

        Raises:
            Undecodable: the last piece was not the end.
        """
        if self._unpacker is not None and self._kept and not self._unpacker.eof:
            raise Undecodable("sent a compressed answer that breaks off")
        return self.taken()

    def _unpack(self, data: bytes) -> bytes:
        """Unpacks as much of `data` as there is room for, and gives back the rest."""
        assert self._unpacker is not None
        try:
            self._kept += self._unpacker.decompress(data, self._room())
        except zlib.error:
            raise Undecodable("sent a compressed answer that is broken") from None
        if not self._unpacker.eof:
            return self._unpacker.unconsumed_tail
        rest = self._unpacker.unused_data
        if self._kind == "gzip" and rest.startswith(b"\x1f\x8b"):  # a file may have several parts
            self._unpacker = zlib.decompressobj(_GZIP)
            return rest
        return b""

    def _room(self) -> int:
        return self._most + 1 - len(self._kept)
