"""Unpacks compressed answers up to a limit: a few bytes can contain gigabytes."""

from __future__ import annotations

import zlib

from agentd.errors import AgentdError

CODINGS = ("gzip", "deflate")

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Undecodable(AgentdError):
    """An answer that cannot be unpacked."""


class Decoder:
    """Takes the body of an answer in pieces and keeps at most `most` bytes, unpacked."""

    def __init__(self, coding: str, most: int) -> None:
        """`coding` is the header Content-Encoding.

        Raises:
            Undecodable: it names a coding that the request did not accept.
        """
        self._kind = coding.strip().lower().removeprefix("x-")
        if self._kind not in ("", "identity", *CODINGS):
            raise Undecodable(f"answered in the encoding {coding[:50]!r}, which was not asked for")
        self._most = most
        self._kept = bytearray()
        self._unpacker = zlib.decompressobj(_GZIP) if self._kind == "gzip" else None

    @property
    def full(self) -> bool:
        """Whether the body is longer than `most`."""
        return len(self._kept) > self._most

    def feed(self, data: bytes) -> None:
        """Takes the next piece.

        Raises:
            Undecodable: it is not valid in this coding.
        """
        if self._kind in ("", "identity"):
            self._kept += data[: self._room()]
            return
        # Some servers send `deflate` with the header of zlib (RFC 9110, 8.4.1.2), some without it.
        # The first byte tells.
        if self._unpacker is None and data:
            self._unpacker = zlib.decompressobj(_ZLIB if data[0] & 0x0F == 8 else _RAW)
        while data and not self.full:
            data = self._unpack(data)

    def taken(self) -> bytes:
        """The bytes that are kept so far."""
        return bytes(self._kept[: self._most])

    def finished(self) -> bytes:
        """The whole body, after the last piece.

        Raises:
            Undecodable: the compressed data has no end.
        """
        if self._unpacker is not None and self._kept and not self._unpacker.eof:
            raise Undecodable("sent a compressed answer that is not complete")
        return self.taken()

    def _unpack(self, data: bytes) -> bytes:
        """Unpacks `data` until the limit is reached; returns what was not unpacked."""
        assert self._unpacker is not None
        try:
            self._kept += self._unpacker.decompress(data, self._room())
        except zlib.error:
            raise Undecodable("sent a compressed answer that is not valid") from None
        if not self._unpacker.eof:
            return self._unpacker.unconsumed_tail
        rest = self._unpacker.unused_data
        if self._kind == "gzip" and rest.startswith(b"\x1f\x8b"):  # gzip allows several parts
            self._unpacker = zlib.decompressobj(_GZIP)
            return rest
        return b""

    def _room(self) -> int:
        return self._most + 1 - len(self._kept)
