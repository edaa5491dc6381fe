"""How much a caller may send and hold, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

_MB = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one HTTP server.

    Attributes:
        connections: at the same time, if the system allows so many open files. For one more, the
            connection that has been idle for longest is closed.
        requests: of one key at the same time, streams among them.
        head_bytes, body_bytes: of one request.
        all_bodies_bytes: of all requests that are being served.
        pipelined: requests of one connection that wait for the response to an earlier one.
        head_seconds: from the first byte of a request until its headers are complete.
        body_seconds: from there until its body is complete.
        read_seconds: until a client reads on. Until then, 64 KB wait for it in memory.
        idle_seconds: until a connection without a request is closed. It is more than the 60 s of
            common load balancers: they must be the ones that close.
        linger_seconds: until a client whose request is answered ends the rest of its body.
    """

    connections: int = 4_096
    requests: int = 2_048
    head_bytes: int = 32 * 1024
    body_bytes: int = 32 * _MB
    all_bodies_bytes: int = 256 * _MB
    pipelined: int = 16
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    read_seconds: float = 30.0
    idle_seconds: float = 75.0
    linger_seconds: float = 5.0
