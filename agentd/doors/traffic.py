"""The requests that are being served: how many of whom, and how much of their bodies is held."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from types import TracebackType
from typing import Self

from starlette.types import Message, Receive, Scope, Send

from agentd.doors.limits import Limits
from agentd.doors.refusal import Refusal
from agentd.metrics import Metrics

_GONE: Message = {"type": "http.disconnect"}
_CLOSE = (b"connection", b"close")


class Traffic:
    """The requests that a server is serving.

    Attributes:
        draining: set when the process begins to end: clients then leave their connections.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self.draining = asyncio.Event()
        self.running: Counter[str] = Counter()  # by the name of the caller
        self.held = 0  # bytes of bodies
        metrics.http_in_flight(self.running.total)


class Exchange:
    """One request and its response, within the limits. Use it as a context manager."""

    def __init__(self, traffic: Traffic, scope: Scope, receive: Receive, send: Send) -> None:
        self._traffic = traffic
        self._scope = scope
        self._receive = receive
        self._send = send
        self._began = time.monotonic()
        self._caller: str | None = None
        self._size = 0
        self._status = 0  # 0 until the response starts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Gives back what the request held, and counts it."""
        traffic = self._traffic
        traffic.held -= self._size
        if self._caller is not None:
            traffic.running[self._caller] -= 1
            if not traffic.running[self._caller]:
                del traffic.running[self._caller]
        # The path of a request is a stranger's: only the path of a route may be a label.
        route = getattr(self._scope.get("route"), "path", "none")
        traffic.metrics.http_request(route, self._status, time.monotonic() - self._began)

    @property
    def has_begun(self) -> bool:
        """Whether the response has begun."""
        return self._status > 0

    def admit(self, caller: str) -> None:
        """Counts the request as one of this caller.

        Raises:
            Refusal: the caller has too many (429), or the body is too large (413).
        """
        limits = self._traffic.limits
        if self._traffic.running[caller] >= limits.requests:
            text = f"{caller!r} has {limits.requests:,} requests under way; wait until one ends"
            raise Refusal(429, "overloaded", text, headers={"Retry-After": "1"})
        length = next((v for k, v in self._scope["headers"] if k == b"content-length"), b"0")
        if int(length) > limits.body_bytes:
            raise self._too_large()
        self._caller = caller
        self._traffic.running[caller] += 1

    async def receive(self) -> Message:
        """The next part of the body, within the limits.

        Raises:
            Refusal: the body is too large (413), or bodies fill the memory (503).
        """
        message = await self._receive()
        if size := len(message.get("body", b"")):
            try:
                self._count(size)
            except Refusal:
                if not self._status:
                    raise
                return _GONE  # a response that has begun can only be broken off
        return message

    async def send(self, message: Message) -> None:
        """Sends a part of the response."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._traffic.draining.is_set():
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
        await self._send(message)

    def _count(self, size: int) -> None:
        limits = self._traffic.limits
        self._size += size
        self._traffic.held += size
        if self._size > limits.body_bytes:
            raise self._too_large()
        if self._traffic.held > limits.all_bodies_bytes:
            text = "the bodies of other requests fill the memory; send it again later"
            raise Refusal(503, "overloaded", text, headers={"Retry-After": "1"})

    def _too_large(self) -> Refusal:
        limit = self._traffic.limits.body_bytes
        return Refusal(413, "too_large", f"the body has more than {limit:,} bytes")
